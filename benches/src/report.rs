//! What a bench says: one object, the same keys for every kind.

use serde::Serialize;

/// Results of one bench.
#[derive(Debug, Serialize)]
pub struct Report {
    pub bench: &'static str,
    pub kind: String,
    pub sessions: u64,
    pub ns_per_packet: f64,
    pub cycles_per_packet: f64,
    pub mpps: f64,
    pub ns_per_session: f64,
    pub sessions_per_s: f64,
    pub bytes_per_session: f64,
    pub allocations_per_packet: f64,
    pub ns_per_line: f64,
    pub lines_per_packet: f64,
    pub lines_per_session: f64,
    pub huge_pages: bool,
    pub runs: Vec<f64>,
}

/// The middle of some figures.
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

impl Report {
    /// Prints it.
    pub fn print(&self, json: bool) -> anyhow::Result<()> {
        if json {
            println!("{}", serde_json::to_string(self)?);
            return Ok(());
        }
        println!(
            "{} {}, {} sessions, median of {} runs",
            self.bench,
            self.kind,
            self.sessions,
            self.runs.len()
        );
        if self.ns_per_packet > 0.0 {
            println!(
                "  {:8.1} ns/packet  {:8.1} cycles  {:6.2} Mpps",
                self.ns_per_packet, self.cycles_per_packet, self.mpps
            );
            println!("  {:8.2} x ns_per_line", self.lines_per_packet);
        }
        if self.ns_per_session > 0.0 {
            println!(
                "  {:8.1} ns/session  {:8.2} M sessions/s",
                self.ns_per_session,
                self.sessions_per_s / 1e6
            );
            println!("  {:8.2} x ns_per_line", self.lines_per_session);
        }
        println!(
            "  {:8.1} bytes/session, all in (huge pages: {})",
            self.bytes_per_session, self.huge_pages
        );
        println!("  {:8.3} allocations/packet", self.allocations_per_packet);
        println!("  {:8.2} ns/line (random, 32 in flight)", self.ns_per_line);
        println!(
            "  runs: {:?}",
            self.runs
                .iter()
                .map(|r| (r * 10.0).round() / 10.0)
                .collect::<Vec<_>>()
        );
        Ok(())
    }
}
