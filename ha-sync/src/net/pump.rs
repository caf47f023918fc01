//! One connection's bytes: from the wire into the conversation and from it onto the wire, each only as fast as the other side
//! takes them.
//!
//! The conversation's rings are polled: every millisecond while there is something or it is urgent, less and less often, down to every 20 ms, while
//! there is not. What it has to say in small pieces is so gathered for a millisecond, and idling costs 50 wake-ups a second.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::buffered::Wire;
use super::conversation::{Conversation, RECEIVE_WHOLE};
use super::establish::{Established, Event};
use super::failure::Failure;
use super::run::{Command, Shell};
use super::tls;

/// Octets that may wait for the wire.
const OUT_LEN_MAX: usize = 256 << 10;
/// A conversation that had at least this much to say is asked again at once, another one a millisecond later.
const SAID_MUCH: usize = 16 << 10;
/// Octets that may wait for the conversation: what comes again to it, and as much again to read into.
const IN_LEN: usize = 2 * RECEIVE_WHOLE;
/// Shortest.
pub(super) const WAIT_MIN: Duration = Duration::from_millis(1);
/// Longest time between two looks at the conversation.
pub(super) const WAIT_MAX: Duration = Duration::from_millis(20);
/// How long what has been said may take to leave when the channel is stopped.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long the conversation is waited for when a connection has ended and it takes nothing of what came; and altogether.
const LAST_WORDS: Duration = Duration::from_secs(1);
const LAST_WORDS_ALL: Duration = Duration::from_secs(2);

const _: () = assert!(IN_LEN > RECEIVE_WHOLE, "what waits must leave room to read");

/// Why a pump ended.
pub(super) enum End {
    /// The connection is of no use any more.
    Failed(Failure),
    /// The peer made a new one.
    Replaced(Established),
    /// By command, or because nobody is left to give one.
    Stopped,
}

/// What woke the pump.
enum Woken<C> {
    Received(std::io::Result<usize>),
    Sent(std::io::Result<usize>),
    Time,
    Command(Option<Command<C>>),
    Event(Option<Event>),
}

/// Bytes that came and were not taken yet.
struct Incoming {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// Nothing was taken of what is there, and nothing has come since.
    stuck: bool,
}

impl Incoming {
    fn new() -> Self {
        Self {
            bytes: vec![0; IN_LEN],
            start: 0,
            end: 0,
            stuck: false,
        }
    }

    fn waiting(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Where to read to; nothing while a whole message's length waits and is not taken.
    fn space(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.start >= IN_LEN / 2 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end - self.start >= RECEIVE_WHOLE {
            return &mut [];
        }
        self.bytes.get_mut(self.end..).unwrap_or_default()
    }
}

/// Bytes that were said and are not sent yet.
#[derive(Default)]
struct Outgoing {
    bytes: Vec<u8>,
    start: usize,
    /// Sent, but perhaps still in TLS' buffer.
    unflushed: bool,
}

impl Outgoing {
    fn waiting(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    fn sent(&mut self, octets: usize) {
        self.start += octets;
        if self.start >= self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
        } else if self.start >= OUT_LEN_MAX {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }
}

/// Moves bytes until the connection ends.
pub(super) async fn pump<C: Conversation>(
    wire: Wire,
    shell: &mut Shell<'_, C>,
    commands: &mut mpsc::UnboundedReceiver<Command<C::Command>>,
    events: &mut mpsc::Receiver<Event>,
) -> End {
    let (mut reader, mut writer) = split(wire);
    let (mut incoming, mut outgoing) = (Incoming::new(), Outgoing::default());
    let mut wait = WAIT_MIN;
    let mut ask_at = Instant::now();
    loop {
        if let Err(failure) = take(&mut incoming, shell) {
            // What this end has said lets the other see by itself why they cannot work together.
            farewell(&mut writer, &mut outgoing, shell).await;
            return End::Failed(failure);
        }
        let now = Instant::now();
        if now >= ask_at {
            shell.conversation.tick(shell.clock.ms());
            let said = ask(&mut outgoing, shell);
            let is_urgent = shell.conversation.is_urgent();
            if said > 0 || incoming.stuck || is_urgent {
                wait = WAIT_MIN;
            }
            ask_at = if said >= SAID_MUCH { now } else { now + wait };
            if said == 0 && !is_urgent {
                wait = (wait * 2).min(WAIT_MAX);
            }
        }
        if let Some(objection) = shell.conversation.objection() {
            return End::Failed(Failure::Conversation(objection.0));
        }
        shell.publish_sometimes();
        match turn(
            &mut reader,
            &mut writer,
            &mut incoming,
            &outgoing,
            ask_at,
            commands,
            events,
        )
        .await
        {
            Woken::Received(Ok(0)) => {
                let objection = last_words(None, &mut incoming, shell).await.err();
                return End::Failed(objection.unwrap_or(Failure::Closed));
            }
            Woken::Received(Ok(octets)) => {
                incoming.end += octets;
                incoming.stuck = false;
                shell.status.counters.received_bytes += octets as u64;
                // Its answer is not to wait for the idle beat.
                wait = WAIT_MIN;
                ask_at = ask_at.min(Instant::now() + WAIT_MIN);
            }
            Woken::Sent(Ok(octets)) => {
                outgoing.unflushed = octets > 0;
                outgoing.sent(octets);
                shell.status.counters.sent_bytes += octets as u64;
            }
            Woken::Received(Err(error)) => {
                let objection = last_words(None, &mut incoming, shell).await.err();
                return End::Failed(objection.unwrap_or_else(|| tls::meaning(error, &[])));
            }
            Woken::Sent(Err(error)) => {
                let objection = last_words(Some(reader), &mut incoming, shell).await.err();
                return End::Failed(objection.unwrap_or_else(|| tls::meaning(error, &[])));
            }
            Woken::Time => {}
            Woken::Command(Some(Command::Say(command))) => {
                shell.conversation.command(command, shell.clock.ms());
                ask_at = now;
            }
            Woken::Command(Some(Command::Stop) | None) => {
                farewell(&mut writer, &mut outgoing, shell).await;
                return End::Stopped;
            }
            Woken::Event(Some(Event::Ready(established))) => {
                // Whatever is wrong with what the old one says: it is gone.
                let _objection = last_words(Some(reader), &mut incoming, shell).await;
                return End::Replaced(established);
            }
            Woken::Event(Some(event)) => shell.note(&event),
            Woken::Event(None) => return End::Stopped,
        }
    }
}

/// Gives the conversation what came, until it takes no more.
fn take<C: Conversation>(incoming: &mut Incoming, shell: &mut Shell<'_, C>) -> Result<(), Failure> {
    while incoming.start < incoming.end {
        let waiting = incoming.waiting();
        let taken = shell.conversation.receive(waiting, shell.clock.ms());
        let taken = taken
            .map_err(|objection| Failure::Conversation(objection.0))?
            .min(waiting.len());
        if taken == 0 {
            let full = incoming.end - incoming.start >= RECEIVE_WHOLE;
            shell.status.counters.receive_stalls += u64::from(full && !incoming.stuck);
            incoming.stuck = full;
            return Ok(());
        }
        incoming.start += taken;
    }
    incoming.stuck = false;
    Ok(())
}

/// Asks the conversation for what it has to say, if there is room; how many octets that was.
fn ask<C: Conversation>(outgoing: &mut Outgoing, shell: &mut Shell<'_, C>) -> usize {
    let room = OUT_LEN_MAX.saturating_sub(outgoing.waiting().len());
    if room < SAID_MUCH {
        return 0;
    }
    let before = outgoing.bytes.len();
    shell
        .conversation
        .send(&mut outgoing.bytes, room, shell.clock.ms());
    outgoing.bytes.len().saturating_sub(before)
}

/// Waits for the first thing to happen.
async fn turn<C>(
    reader: &mut ReadHalf<Wire>,
    writer: &mut WriteHalf<Wire>,
    incoming: &mut Incoming,
    outgoing: &Outgoing,
    ask_at: Instant,
    commands: &mut mpsc::UnboundedReceiver<Command<C>>,
    events: &mut mpsc::Receiver<Event>,
) -> Woken<C> {
    let space = incoming.space();
    let (reads, waiting) = (!space.is_empty(), outgoing.waiting());
    let write = async {
        if waiting.is_empty() {
            writer.flush().await.map(|()| 0)
        } else {
            writer.write(waiting).await
        }
    };
    tokio::select! {
        read = reader.read(space), if reads => Woken::Received(read),
        written = write, if !waiting.is_empty() || outgoing.unflushed => Woken::Sent(written),
        () = sleep_until(ask_at) => Woken::Time,
        command = commands.recv() => Woken::Command(command),
        event = events.recv() => Woken::Event(event),
    }
}

/// Lets the conversation take what came over a connection that has ended: the peer may have been the only one to know it, and
/// not come back. With `reader`, what lies unread in the kernel is read before, as far as it is there.
async fn last_words<C: Conversation>(
    mut reader: Option<ReadHalf<Wire>>,
    incoming: &mut Incoming,
    shell: &mut Shell<'_, C>,
) -> Result<(), Failure> {
    let end = Instant::now() + LAST_WORDS_ALL;
    let mut patience = Instant::now() + LAST_WORDS;
    loop {
        let waiting = incoming.waiting().len();
        take(incoming, shell)?;
        shell.conversation.tick(shell.clock.ms());
        if shell.conversation.objection().is_some() {
            return Ok(());
        }
        let now = Instant::now();
        if incoming.waiting().len() < waiting {
            patience = now + LAST_WORDS;
        }
        if now >= end.min(patience) {
            return Ok(());
        }
        let space = incoming.space();
        let came = match &mut reader {
            Some(wire) if !space.is_empty() => {
                // What is there is there at once.
                let read = timeout(WAIT_MIN, wire.read(space)).await;
                read.ok().and_then(Result::ok).unwrap_or(0)
            }
            _ => 0,
        };
        if came > 0 {
            incoming.end += came;
            incoming.stuck = false;
            shell.status.counters.received_bytes += came as u64;
        } else if incoming.waiting().is_empty() && !shell.conversation.is_busy() {
            return Ok(());
        } else {
            sleep_until(now + WAIT_MIN).await;
        }
    }
}

/// Sends what has been said, if the peer takes it soon, and closes.
async fn farewell<C: Conversation>(
    writer: &mut WriteHalf<Wire>,
    outgoing: &mut Outgoing,
    shell: &mut Shell<'_, C>,
) {
    let leaving = async {
        loop {
            ask(outgoing, shell);
            if outgoing.waiting().is_empty() {
                break;
            }
            writer.write_all(outgoing.waiting()).await?;
            outgoing.sent(outgoing.waiting().len());
        }
        writer.flush().await?;
        writer.shutdown().await
    };
    // A peer that takes nothing more is not waited for.
    let _left = timeout(FAREWELL, leaving).await;
}
