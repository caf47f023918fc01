//! The events thread: what workers tell is carried on, and workers are watched.
//!
//! Neighbours wanted go to the kernel, port block and policy events to the log, answers to who asked. Once a second workers are looked
//! at, and several times a minute the kernel is told which neighbours are in use: it does not see our packets.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tandem_dataplane::command::{Event, Mailbox};
use tandem_dataplane::stats::{PublishedStats, WorkerCounters};
use tandem_engine::ports::{BlockEvent, BlockEventKind};
use tandem_engine::program::policy::PolicyKey;
use tandem_engine::session::Direction;
use tandem_engine::view::PolicyEvent;
use tracing::{error, info, warn};

use super::clock::Clock;
use super::questions::Questions;
use super::running::Running;
use super::sink::Routing;
use crate::api::model::{action_name, protocol_name};
use crate::kernel::WatcherHandle;

/// Sleep between two looks at the mailboxes.
const NAP: Duration = Duration::from_millis(2);
/// The same while somebody waits for an answer.
const NAP_ASKED: Duration = Duration::from_micros(200);
/// Events taken from one worker before the next one's turn.
const EVENTS_PER_TURN: usize = 1024;
/// Between two looks at the workers.
const LOOK: Duration = Duration::from_millis(100);
/// Between two measures of how busy they are.
const MEASURE: Duration = Duration::from_secs(1);
/// Between two reports to the kernel of the neighbours in use: its entries are good for 30 s at least.
const REFRESH: Duration = Duration::from_secs(15);

/// Policy lines logged in one second. Anybody's packets make such lines; port blocks', which must not be lost, share the log.
const POLICY_LINES_PER_S: u64 = 1000;

/// Policy events that made no line, for want of room in their second.
#[derive(Default)]
pub(super) struct PolicyLines {
    /// Lines written in the running second.
    written: AtomicU64,
    suppressed: AtomicU64,
}

impl PolicyLines {
    /// Whether one more may be written.
    fn may_write(&self) -> bool {
        let may = self.written.load(Ordering::Relaxed) < POLICY_LINES_PER_S;
        let count = if may { &self.written } else { &self.suppressed };
        count.fetch_add(1, Ordering::Relaxed);
        may
    }

    /// A new second begins.
    fn next_second(&self) {
        self.written.store(0, Ordering::Relaxed);
    }

    /// Lines suppressed so far.
    pub(super) fn suppressed(&self) -> u64 {
        self.suppressed.load(Ordering::Relaxed)
    }
}

/// When this thread last did its round.
#[derive(Default)]
pub(super) struct Heartbeat(AtomicU64);

impl Heartbeat {
    /// Says so now. `now` is the daemon's uptime.
    fn beat(&self, now: Duration) {
        self.0.store(now.as_millis() as u64, Ordering::Relaxed);
    }

    /// How long ago that was.
    pub(super) fn age(&self, now: Duration) -> Duration {
        let last = Duration::from_millis(self.0.load(Ordering::Relaxed));
        now.saturating_sub(last)
    }
}

/// How a worker is, from outside.
#[derive(Default)]
pub(super) struct WorkerWatch {
    /// What the log said last. Who wants to know how it is asks its heartbeat: this thread may stand still itself.
    told_stalled: AtomicBool,
    /// Share of the last second with packets in hand, in 1/10000.
    busy: AtomicU64,
}

impl WorkerWatch {
    /// 0.0..=100.0.
    pub(super) fn busy_percent(&self) -> f64 {
        self.busy.load(Ordering::Relaxed) as f64 / 100.0
    }
}

/// Whether a worker whose heartbeat is so old stands still. One that has not started does not.
pub(super) fn is_stalled(age: Option<Duration>, threshold: Duration) -> bool {
    age.is_some_and(|age| age > threshold)
}

/// What the thread works on.
pub(super) struct Events {
    pub mailboxes: Vec<Arc<Mailbox>>,
    pub stats: Vec<Arc<PublishedStats>>,
    /// What the dataplane's threads had to start without: a core, a buffer cache.
    pub warnings: Arc<Mutex<Vec<String>>>,
    pub watches: Arc<Vec<WorkerWatch>>,
    pub heartbeat: Arc<Heartbeat>,
    pub policy_lines: Arc<PolicyLines>,
    pub clock: Clock,
    pub stall_threshold: Duration,
    pub questions: Arc<Questions>,
    pub running: Arc<Running>,
    pub routing: Arc<Routing>,
    pub watcher: WatcherHandle,
    pub stop: Arc<AtomicBool>,
}

/// Counters at the last measure, by worker.
#[derive(Clone, Copy, Default)]
struct Before {
    busy: u64,
    idle: u64,
    lost: u64,
}

impl Events {
    /// Runs until told to stop; what workers told until then is still carried on.
    pub(super) fn run(self) {
        let mut before = vec![Before::default(); self.stats.len()];
        let mut told_suppressed = 0;
        let (mut look, mut measure, mut refresh) = (Instant::now(), Instant::now(), Instant::now());
        loop {
            let stopping = self.stop.load(Ordering::Relaxed);
            self.heartbeat.beat(self.clock.uptime());
            let took = self.take_events();
            self.questions.deliver();
            if look.elapsed() >= LOOK {
                look = Instant::now();
                self.warn();
                self.look();
            }
            if measure.elapsed() >= MEASURE {
                measure = Instant::now();
                self.measure(&mut before);
                self.policy_lines.next_second();
                self.tell_suppressed(&mut told_suppressed);
            }
            if refresh.elapsed() >= REFRESH {
                refresh = Instant::now();
                self.refresh();
            }
            if took {
                continue;
            }
            if stopping {
                return;
            }
            std::thread::sleep(if self.questions.any_waiting() {
                NAP_ASKED
            } else {
                NAP
            });
        }
    }

    /// Logs what the dataplane's threads had to start without, each thing once.
    fn warn(&self) {
        let said = std::mem::take(&mut *self.warnings.lock().unwrap_or_else(PoisonError::into_inner));
        for warning in said {
            warn!("{warning}");
        }
    }

    /// Whether there was any.
    fn take_events(&self) -> bool {
        let mut took = false;
        for (worker, mailbox) in self.mailboxes.iter().enumerate() {
            for _ in 0..EVENTS_PER_TURN {
                let Some(event) = mailbox.events.pop() else { break };
                took = true;
                match event {
                    Event::Resolve(interface, address) => self.watcher.resolve(interface, address),
                    Event::Block(event) => self.log_block(worker, &event),
                    Event::Policy(event) if self.policy_lines.may_write() => {
                        self.log_policy(worker, &event);
                    }
                    Event::Policy(_) => {}
                }
            }
        }
        took
    }

    /// One line for a port block. RFC 6888 REQ-12: what is needed to find the subscriber behind a public address and port
    /// at a time, and no destination.
    fn log_block(&self, worker: usize, event: &BlockEvent) {
        let what = match event.kind {
            BlockEventKind::Allocated => "allocated",
            BlockEventKind::Released => "released",
            BlockEventKind::Interim => "interim",
        };
        let time = |at| humantime::format_rfc3339_millis(self.clock.wall(at));
        info!(
            event = what,
            time = %time(event.at),
            since = %time(event.since),
            service_set = %self.running.service_set_name(event.service_set),
            pool = %self.running.pool_name(event.pool),
            inside = %tandem_engine::address::show(event.inside),
            public = %Ipv4Addr::from_bits(event.public),
            first_port = event.first_port,
            last_port = event.last_port,
            worker,
            "port block"
        );
    }

    /// One line for a session that a policy with `log` let begin or refused.
    fn log_policy(&self, worker: usize, event: &PolicyEvent) {
        let PolicyKey {
            src,
            dst,
            sport,
            dport,
            protocol,
        } = event.key;
        info!(
            action = action_name(event.action),
            service_set = %self.running.service_set_name(event.service_set),
            policy = %self.running.policy_name(event.policy),
            direction = match event.direction {
                Direction::Out => "outbound",
                Direction::In => "inbound",
            },
            source = %tandem_engine::address::show(src),
            source_port = sport,
            destination = %tandem_engine::address::show(dst),
            destination_port = dport,
            protocol = %protocol_name(protocol),
            worker,
            "policy"
        );
    }

    /// One line for all policy lines that were not written since the last.
    fn tell_suppressed(&self, told: &mut u64) {
        let all = self.policy_lines.suppressed();
        if all > *told {
            warn!(
                suppressed = all - *told,
                "policy lines were suppressed: more than {POLICY_LINES_PER_S} in a second"
            );
            *told = all;
        }
    }

    fn look(&self) {
        for (worker, (stats, watch)) in self.stats.iter().zip(self.watches.iter()).enumerate() {
            let age = self.clock.age(stats.heartbeat());
            let stalled = is_stalled(age, self.stall_threshold);
            if watch.told_stalled.swap(stalled, Ordering::Relaxed) == stalled {
                continue;
            }
            let age_ms = age.map_or(0, |age| age.as_millis() as u64);
            if stalled {
                error!(worker, age_ms, "worker gives no sign of life");
            } else {
                info!(worker, "worker is back");
            }
        }
    }

    fn measure(&self, before: &mut [Before]) {
        let at = |name| WorkerCounters::NAMES.iter().position(|n| *n == name);
        let (busy_at, idle_at) = (at("busy-cycles"), at("idle-cycles"));
        let lost_at = at("block-events-lost");
        for (worker, (stats, last)) in self.stats.iter().zip(before).enumerate() {
            let counters = stats.worker();
            let read = |at: Option<usize>| at.and_then(|at| counters.get(at)).copied().unwrap_or(0);
            let now = Before {
                busy: read(busy_at),
                idle: read(idle_at),
                lost: read(lost_at),
            };
            let busy = now.busy.saturating_sub(last.busy);
            let all = busy + now.idle.saturating_sub(last.idle);
            if let Some(watch) = self.watches.get(worker) {
                let share = (u128::from(busy) * 10_000).checked_div(u128::from(all));
                watch.busy.store(share.unwrap_or(0) as u64, Ordering::Relaxed);
            }
            let lost = now.lost.saturating_sub(last.lost);
            if lost > 0 {
                warn!(
                    worker,
                    lost, "port block events were lost: the log did not keep up"
                );
            }
            *last = now;
        }
    }

    fn refresh(&self) {
        let used = self.routing.writer().used_neighbours();
        for (interface, address) in used {
            self.watcher.refresh(interface, address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_stalls_by_the_age_of_its_heartbeat_alone() {
        let threshold = Duration::from_millis(500);
        let ms = |age| Some(Duration::from_millis(age));
        assert!(!is_stalled(None, threshold));
        assert!(!is_stalled(ms(500), threshold));
        assert!(is_stalled(ms(501), threshold));
    }

    #[test]
    fn a_second_has_room_for_so_many_policy_lines_and_the_rest_is_counted() {
        let lines = PolicyLines::default();
        let written = |count| (0..count).filter(|_| lines.may_write()).count();
        assert_eq!((written(999), lines.suppressed()), (999, 0));
        assert_eq!((written(500), lines.suppressed()), (1, 499));
        lines.next_second();
        assert_eq!((written(1001), lines.suppressed()), (1000, 500));
    }

    #[test]
    fn a_heartbeat_ages_until_the_next() {
        let (heartbeat, s) = (Heartbeat::default(), Duration::from_secs);
        assert_eq!(heartbeat.age(s(3)), s(3), "never: as old as the daemon");
        heartbeat.beat(s(4));
        assert_eq!(heartbeat.age(s(10)), s(6));
        heartbeat.beat(s(11));
        assert_eq!(heartbeat.age(s(10)), s(0));
    }
}
