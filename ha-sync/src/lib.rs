//! Replication between the two chassis of a pair.
