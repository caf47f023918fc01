//! The poll-mode workers: ports, bursts, steering, routing, punting, counters.
