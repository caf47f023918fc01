//! What a bench says: one object, the same keys for every kind.

use serde::Serialize;

use crate::kind::Kind;

/// Results of one bench.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub bench: &'static str,
    /// An engine alone was measured, not a worker.
    pub engine: bool,
    pub kind: Kind,
    /// Firewall policies; 0 without a firewall.
    pub rules: u32,
    /// Octets of a frame as it arrives, with its frame check sequence.
    pub frame_octets: usize,
    pub sessions: u64,
    pub ns_per_packet: f64,
    pub cycles_per_packet: f64,
    pub mpps: f64,
    pub ns_per_session: f64,
    pub sessions_per_s: f64,
    /// To NAPT44 without policies, run by run; the median.
    pub ratio_to_napt44: f64,
    /// Set-up only: to the same kind with the fewest policies of this run, likewise.
    pub ratio_to_fewest_rules: f64,
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

/// The middle of the ratios of two rows of figures, one to one.
pub fn median_ratio(figures: &[f64], base: &[f64]) -> f64 {
    let ratios: Vec<f64> = figures.iter().zip(base).map(|(f, b)| f / b).collect();
    median(&ratios)
}

impl Report {
    /// Prints it.
    pub fn print(&self, json: bool) -> anyhow::Result<()> {
        if json {
            println!("{}", serde_json::to_string(self)?);
            return Ok(());
        }
        let policies = match self.rules {
            0 => String::new(),
            n => format!(" with {n} policies"),
        };
        let of = if self.engine { " (engine alone)" } else { "" };
        println!(
            "{}{of} {}{policies}, {} sessions, frames of {} octets, median of {} runs",
            self.bench,
            self.kind,
            self.sessions,
            self.frame_octets,
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
        println!("  {:8.2} x napt44, run by run", self.ratio_to_napt44);
        if self.ratio_to_fewest_rules > 0.0 {
            println!(
                "  {:8.2} x the same with the fewest policies",
                self.ratio_to_fewest_rules
            );
        }
        println!(
            "  {:8.1} bytes/session, all in (huge pages: {})",
            self.bytes_per_session, self.huge_pages
        );
        println!("  {:8.3} allocations/packet", self.allocations_per_packet);
        println!("  {:8.2} ns/line (random, 32 in flight)", self.ns_per_line);
        let runs: Vec<f64> = self.runs.iter().map(|r| (r * 10.0).round() / 10.0).collect();
        println!("  runs: {runs:?}");
        Ok(())
    }
}
