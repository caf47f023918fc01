//! The channel's thread: keeps a connection, has it pumped, hands on commands, publishes the status.

use std::time::Instant;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::conversation::Conversation;
use super::establish::{Established, Event, Need, establish};
use super::failure::FailureKind;
use super::pump::{End, WAIT_MAX, WAIT_MIN, pump};
use super::status::{ChannelState, ChannelStatus, Status};
use super::tls::Channel;

/// Milliseconds between two publications of a status in which only numbers changed.
const PUBLISH_EVERY_MS: u64 = 100;
/// Events of establishing that may wait. Establishing waits when there are more.
const EVENTS: usize = 16;

/// What can be told to a running channel.
#[derive(Debug)]
pub enum Command<C> {
    /// To the conversation.
    Say(C),
    /// What has been said is sent, if the peer takes it within a second; then everything ends.
    Stop,
}

/// Where commands come from. When all senders are gone, the channel stops.
pub type Commands<C> = mpsc::UnboundedReceiver<Command<C>>;

/// The channel's clock: milliseconds since it began, never backwards.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn ms(self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// What is there whether or not there is a connection.
pub(super) struct Shell<'a, C: Conversation> {
    pub(super) conversation: &'a mut C,
    pub(super) status: ChannelStatus,
    pub(super) clock: Clock,
    publisher: watch::Sender<Status<C::State>>,
    published_ms: u64,
}

impl<C: Conversation> Shell<'_, C> {
    /// Publishes now.
    fn publish(&mut self) {
        self.published_ms = self.clock.ms();
        let conversation = self.conversation.state();
        self.publisher.send_replace(Status {
            channel: self.status.clone(),
            conversation,
        });
    }

    /// Publishes if it has not been done for a while.
    pub(super) fn publish_sometimes(&mut self) {
        if self.clock.ms() >= self.published_ms + PUBLISH_EVERY_MS {
            self.publish();
        }
    }

    /// Takes down what establishing reports, but for a connection.
    pub(super) fn note(&mut self, event: &Event) {
        match event {
            Event::Attempt => self.status.counters.attempts += 1,
            Event::Failed(failure) => {
                self.status.failed(failure);
                match failure.kind() {
                    // Anybody can make as many of these as they like, and replication has this thread, too.
                    FailureKind::Stranger | FailureKind::Crowded => self.publish_sometimes(),
                    _ => self.publish(),
                }
            }
            Event::Ready(_) => {}
        }
    }
}

/// Runs a channel until it is stopped, on a thread of its own: it does not return before, and nothing else gets to run there.
/// `started` is called once, with where the status is published: at every change of state, and every 100 ms for its numbers.
///
/// # Errors
/// When the runtime cannot be made (no file descriptors left, for one).
pub fn run<C: Conversation>(
    channel: &Channel,
    conversation: &mut C,
    commands: &mut Commands<C::Command>,
    started: impl FnOnce(watch::Receiver<Status<C::State>>),
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let status = ChannelStatus::new(channel);
    let first = Status {
        channel: status.clone(),
        conversation: conversation.state(),
    };
    let (publisher, published) = watch::channel(first);
    started(published);
    let clock = Clock(Instant::now());
    let mut shell = Shell {
        conversation,
        status,
        clock,
        publisher,
        published_ms: 0,
    };
    runtime.block_on(keep(channel, &mut shell, commands));
    shell.status.disconnected();
    shell.status.state = ChannelState::Stopped;
    shell.publish();
    Ok(())
}

/// Connection after connection.
async fn keep<C: Conversation>(
    channel: &Channel,
    shell: &mut Shell<'_, C>,
    commands: &mut Commands<C::Command>,
) {
    let (event_sender, mut events) = mpsc::channel(EVENTS);
    let (need, needed) = watch::channel(Need::default());
    let establishing = tokio::spawn(establish(channel.clone(), event_sender, needed));
    let mut next = wait(shell, commands, &mut events).await;
    while let Some(Established { wire, peer, secured }) = next.take() {
        need.send_modify(|need| need.connected = true);
        shell.status.connected(peer, secured);
        shell.conversation.over(peer.ip().to_canonical());
        shell.conversation.connected(shell.clock.ms());
        shell.publish();
        let began = Instant::now();
        let end = pump(wire, shell, commands, &mut events).await;
        shell.conversation.disconnected(shell.clock.ms());
        shell.status.disconnected();
        match end {
            End::Replaced(established) => {
                shell.status.counters.replaced += 1;
                next = Some(established);
            }
            End::Failed(failure) => {
                let lasted = began.elapsed() >= channel.endpoint.timing.backoff_max;
                need.send_modify(|need| {
                    *need = Need {
                        connected: false,
                        ended: need.ended + 1,
                        lasted,
                    }
                });
                shell.status.failed(&failure);
                shell.publish();
                next = wait(shell, commands, &mut events).await;
            }
            End::Stopped => {}
        }
    }
    establishing.abort();
}

/// Waits for a connection; nothing when the channel is stopped.
async fn wait<C: Conversation>(
    shell: &mut Shell<'_, C>,
    commands: &mut Commands<C::Command>,
    events: &mut mpsc::Receiver<Event>,
) -> Option<Established> {
    loop {
        shell.conversation.tick(shell.clock.ms());
        shell.publish_sometimes();
        let happened = async {
            tokio::select! {
                command = commands.recv() => Err(command),
                event = events.recv() => Ok(event),
            }
        };
        let pause = if shell.conversation.is_urgent() {
            WAIT_MIN
        } else {
            WAIT_MAX
        };
        match timeout(pause, happened).await {
            // Time for the conversation's clock.
            Err(_) => {}
            Ok(Err(Some(Command::Say(command)))) => shell.conversation.command(command, shell.clock.ms()),
            Ok(Err(Some(Command::Stop) | None) | Ok(None)) => return None,
            Ok(Ok(Some(Event::Ready(established)))) => return Some(established),
            Ok(Ok(Some(event))) => shell.note(&event),
        }
    }
}
