//! The loop: poll, process, flush, and what has to be done between bursts. Idles politely when there is nothing to do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rte_bindings::tsc_cycles;
use tandem_engine::drop_reason::DropReason;
use tandem_engine::packet::Answer;
use tandem_engine::ticks::Ticks;

use super::{Burst, NOTE_HAIRPIN, NOTE_OUT, PacketNote, Worker};
use crate::command::{Command, EVENTS, Event};

/// Sessions looked at by the timer per loop.
const EXPIRE_PER_LOOP: usize = 32;
/// Table slots a query may look at per loop.
const SLOTS_PER_LOOP: u32 = 512;
/// Loops without a packet before a worker starts to sleep.
const EMPTY_LOOPS: u32 = 256;
/// Operations of the other chassis installed per loop: some microseconds' worth, so that packets do not wait.
const INSTALLS_PER_LOOP: usize = 64;
/// Longest sleep of an idle worker: what the first packet after a pause may wait.
const LONGEST_SLEEP: Duration = Duration::from_micros(500);
/// Loops between two publications of the counters under load.
const PUBLISH_LOOPS: u32 = 4096;

/// What a worker does when there is nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// Polls on: for cores of its own.
    BusyPoll,
    /// Backs off, in steps up to half a millisecond.
    Adaptive,
}

impl Worker {
    /// Runs until `stop`.
    pub fn run(&mut self, stop: &AtomicBool) {
        let mut burst = Box::<Burst>::default();
        let (mut empty, mut loops) = (0u32, 0u32);
        let mut last = tsc_cycles();
        self.stats.set_program(self.commit.program.generation);
        self.now = self.ticks(last);
        self.install_waiting();
        while !stop.load(Ordering::Relaxed) {
            let start = tsc_cycles();
            self.stats.beat(start);
            self.now = self.ticks(start);
            let worked = self.turn(&mut burst);
            let end = tsc_cycles();
            if worked {
                self.counters.busy_cycles += end.wrapping_sub(start);
                empty = 0;
            } else {
                self.counters.idle_cycles += end.wrapping_sub(last);
                empty = empty.saturating_add(1);
            }
            last = end;
            loops += 1;
            if loops >= PUBLISH_LOOPS || empty == EMPTY_LOOPS || empty > EMPTY_LOOPS && loops >= 64 {
                loops = 0;
                self.publish();
            }
            if self.idle == Idle::Adaptive && self.query.is_none() {
                nap(empty);
            }
        }
        self.shut_down();
    }

    /// One turn of the loop at the time that was set: everything received is processed, timers and the mailbox are looked
    /// at, and what is ready is sent. Whether anything was received. `burst` is empty before and after.
    pub fn turn(&mut self, burst: &mut Box<Burst>) -> bool {
        let mut worked = self.poll(burst);
        worked |= self.install();
        self.between_bursts();
        self.command();
        self.flush();
        worked
    }

    fn ticks(&self, cycles: u64) -> Ticks {
        Ticks((cycles.wrapping_sub(self.tsc_start) / self.tsc_per_tick) as u32)
    }

    /// One turn over all queues and rings; whether anything came.
    fn poll(&mut self, burst: &mut Box<Burst>) -> bool {
        let mut worked = false;
        for at in 0..self.rx.len() {
            let Some((port, queue)) = self.rx.get_mut(at) else {
                break;
            };
            let port = *port;
            if queue.rx_burst(burst) > 0 {
                worked = true;
                self.counters.rx_bursts += 1;
                self.process_burst(port, burst);
            }
        }
        for at in 0..self.from_workers.len() {
            let Some(ring) = self.from_workers.get_mut(at) else {
                break;
            };
            let taken = ring.dequeue_burst(burst);
            if taken > 0 {
                worked = true;
                self.counters.taken_over += taken as u64;
                self.process_handed_over(burst);
            }
        }
        if let Some(ring) = &mut self.from_kernel
            && ring.dequeue_burst(burst) > 0
        {
            worked = true;
            for mbuf in burst.drain() {
                let interface = mbuf.priv_ref::<PacketNote>().map_or(u16::MAX, |n| n.interface);
                self.send_from_kernel(mbuf, interface);
            }
        }
        worked
    }

    /// Does what the other chassis tells, a bounded number of operations; whether there were any.
    fn install(&mut self) -> bool {
        let Some(inbox) = &mut self.inbox else {
            return false;
        };
        let count = inbox.slots().min(INSTALLS_PER_LOOP);
        let Ok(chunk) = inbox.read_chunk(count) else {
            return false;
        };
        let (first, second) = chunk.as_slices();
        self.engine.install_all(first, self.now);
        self.engine.install_all(second, self.now);
        chunk.commit_all();
        count > 0
    }

    /// Does all that waits in the inbox now: the roles that were put there before the start come before the first packet.
    fn install_waiting(&mut self) {
        let waiting = self.inbox.as_ref().map_or(0, |inbox| inbox.slots());
        for _ in 0..waiting.div_ceil(INSTALLS_PER_LOOP) {
            self.install();
        }
    }

    fn process_handed_over(&mut self, burst: &mut Box<Burst>) {
        for mbuf in burst.drain() {
            let note = mbuf.priv_ref::<PacketNote>().copied().unwrap_or_default();
            match note.kind {
                NOTE_OUT => self.transmit(mbuf, note.detail),
                NOTE_HAIRPIN => self.take_hairpin(mbuf, note),
                _ => self.take_over(mbuf, note),
            }
        }
        // What came is ours by the sender's steering; the engine decides, and nothing is handed over twice.
        self.process_owned();
    }

    fn process_owned(&mut self) {
        let start = self.stage_start();
        self.engine
            .process(self.now, &self.router, self.batch.as_mut_slice(), &mut self.descs);
        let start = self.stage_end(start, |s| &mut s.engine);
        self.deliver_batch();
        let start = self.stage_end(start, |s| &mut s.deliver);
        if !self.batch6.is_empty() {
            self.process_owned6(start);
        }
        self.send_hairpins_round();
    }

    fn send_hairpins_round(&mut self) {
        if !self.hairpins.is_empty() {
            self.take_hairpins();
            self.process_batch(0);
        }
    }

    /// Timers and stores.
    fn between_bursts(&mut self) {
        self.engine.maintain(self.now, EXPIRE_PER_LOOP);
        if !self.waiting.is_empty() {
            self.look_after_waiting();
        }
        let Self { fragments, drops, .. } = self;
        fragments.expire(self.now, |packet, reason| {
            drops.count(reason);
            drop(packet);
        });
        while let Some((desc, mbuf)) = self.held.due(self.now) {
            if self.engine.has_session_from_outside(&desc) {
                self.counters.syn_answered_inside += 1;
                self.drop_packet(mbuf, DropReason::TcpUnsolicitedSyn);
            } else {
                self.refuse(
                    mbuf,
                    desc.interface,
                    DropReason::TcpUnsolicitedSyn,
                    Answer::Unreachable(3),
                );
            }
        }
        let Self {
            engine,
            mailbox,
            counters,
            ..
        } = self;
        engine.drain_block_events(|event| {
            let sent = mailbox.events.push(Event::Block(event)).is_ok();
            counters.block_events += u64::from(sent);
            sent
        });
        engine.drain_policy_events(|event| {
            // Half of the queue is kept for what the packet way waits for and the law asks for.
            let sent =
                mailbox.events.len() < EVENTS / 2 && mailbox.events.push(Event::Policy(*event)).is_ok();
            counters.policy_events += u64::from(sent);
            sent
        });
        self.send_hairpins_round();
    }

    /// Looks at the mailbox: at most one program a loop, and the query under way or the next one.
    fn command(&mut self) {
        if let Some(commit) = self.mailbox.programs.pop() {
            self.engine.apply(std::sync::Arc::clone(&commit.program));
            self.fragments.set_timeout(commit.program.fragment_timeout);
            let left = std::mem::replace(&mut self.commit, commit);
            self.stats.set_program(self.commit.program.generation);
            let _unfetched = self.mailbox.left.push(left);
        }
        if let Some((_, q)) = &mut self.query {
            self.engine.answer(q, SLOTS_PER_LOOP);
            if q.done
                && let Some(answer) = self.query.take()
            {
                // As many answers can wait as commands: there is room unless nobody fetches them any more.
                let _unfetched = self.mailbox.answers.push(answer);
            }
            return;
        }
        if let Some(Command::Query(number, q)) = self.mailbox.commands.pop() {
            self.query = Some((number, q));
        }
    }

    /// Publishes the counters.
    pub fn publish(&mut self) {
        self.counters.block_events_lost = self.engine.block_events_lost();
        self.counters.policy_events_lost = self.engine.policy_events_lost();
        self.stats.publish(
            &self.counters,
            self.engine.counters(),
            &self.drops.0,
            &self.parse_errors,
            self.engine.table_use(),
            self.engine.pool_use(),
        );
    }

    /// Sets the clock, for whoever drives the worker by hand.
    pub fn set_now(&mut self, now: Ticks) {
        self.now = self.now.max(now);
    }

    /// Sends what is ready; what waits, here or in a ring to this worker, is dropped and counted.
    pub fn shut_down(&mut self) {
        let mut burst = Burst::default();
        for ring in self.from_workers.iter_mut().chain(&mut self.from_kernel) {
            while ring.dequeue_burst(&mut burst) > 0 {
                self.drops.0[DropReason::Stopping as usize] += burst.len() as u64;
                burst.clear();
            }
        }
        let Self {
            fragments,
            held,
            drops,
            ..
        } = self;
        fragments.drain(|packet, reason| {
            drops.count(reason);
            drop(packet);
        });
        while let Some((_, mbuf)) = held.take() {
            drops.count(DropReason::Stopping);
            drop(mbuf);
        }
        self.drop_waiting();
        self.flush();
        self.publish();
    }
}

/// Sleeps a little, longer the longer nothing came.
fn nap(empty: u32) {
    if empty < EMPTY_LOOPS {
        if empty > 0 {
            std::hint::spin_loop();
        }
        return;
    }
    let step = Duration::from_micros(u64::from(empty - EMPTY_LOOPS) / 4 + 10);
    std::thread::sleep(step.min(LONGEST_SLEEP));
}
