//! What comes from the peer.

use super::receiver::{Reading, Taken};
use super::{Link, Refusal};
use crate::chassis::Chassis;
use crate::wire::{Ack, Hello, MessageType, WireError, roles_from};

impl Link {
    /// Reads as many of the octets as there is room for what is in them.
    pub(super) fn read(
        &mut self,
        now: u64,
        octets: &[u8],
        chassis: &mut impl Chassis,
    ) -> Result<usize, Refusal> {
        let (mut rest, mut parts_came) = (octets, false);
        if self.receiver.waits() && self.batch(now, chassis)? == Taken::NoRoom {
            return Ok(0);
        }
        while let Some(frame) = self.decoder.next(&mut rest)? {
            let message = match frame.message::<MessageType>() {
                Ok(message) => message,
                Err(_) => {
                    self.stats.unknown_messages += 1;
                    continue;
                }
            };
            if message == MessageType::Hello {
                let hello = Hello::decode(frame.payload)?;
                self.greeted(hello, now, chassis)?;
                continue;
            }
            if self.peer.is_none() {
                // Over a transport that loses messages its hello is still to come.
                if self.config.retransmit_ms > 0 {
                    continue;
                }
                return Err(WireError::NoHello(frame.message_type).into());
            }
            match message {
                MessageType::Hello => {}
                MessageType::Batch => {
                    if self.batch(now, chassis)? == Taken::NoRoom {
                        break;
                    }
                }
                MessageType::Ack => {
                    let acknowledgment = Ack::decode(frame.payload)?;
                    self.acknowledged(acknowledgment, now, chassis);
                }
                MessageType::Resend => {
                    let missing = Ack::decode(frame.payload)?;
                    self.heard_of = Some(missing.revision);
                    if missing.stream == self.sender.stream {
                        self.sender.window.go_back_to(missing.sequence);
                    }
                }
                MessageType::Parts => {
                    self.compared.take(frame.payload)?;
                    parts_came = true;
                }
                MessageType::Exchange => self.exchanges.take(frame.payload)?,
                MessageType::Keepalive => {
                    let acknowledgment = Ack::decode(frame.payload)?;
                    let roles = roles_from(frame.payload.get(Ack::LEN..).unwrap_or(&[]))?;
                    let incarnation = self.receiver.incarnation;
                    self.peer_said_roles(incarnation, &roles, false, chassis);
                    self.acknowledged(acknowledgment, now, chassis);
                }
            }
        }
        if parts_came {
            self.compare();
        }
        Ok(octets.len() - rest.len())
    }

    /// Takes the batch that the decoder holds, or goes on with it.
    pub(super) fn batch(&mut self, now: u64, chassis: &mut impl Chassis) -> Result<Taken, Refusal> {
        let reading = Reading {
            identity: self.agreed(),
            words: &self.config.dictionary,
            version: self.version,
            now,
        };
        let Some(frame) = self.decoder.last() else {
            return Ok(Taken::Done);
        };
        let receiver = &mut self.receiver;
        let taken = receiver.take(frame.payload, reading, chassis, &mut self.stats)?;
        if let Some(types) = receiver.resync_asked.take()
            && self.sender.replicates()
        {
            // Who waits for an answer has offered something, which it does not do again and again: that bulk does not rest.
            let answers = std::mem::take(&mut self.receiver.wants_answer);
            self.sender.bulks.want(types, answers);
            if answers {
                self.sender.bulks.answer();
            }
        }
        match taken {
            Ok(Taken::Done) => {
                self.due.acknowledgment = true;
                Ok(Taken::Done)
            }
            Ok(Taken::NoRoom) => Ok(Taken::NoRoom),
            Err(_gap) => {
                self.due.resend = true;
                Ok(Taken::Done)
            }
        }
    }

    fn acknowledged(&mut self, acknowledgment: Ack, now: u64, chassis: &mut impl Chassis) {
        self.heard_of = Some(acknowledgment.revision);
        let sender = &mut self.sender;
        let known = acknowledgment.sequence <= sender.window.last();
        if acknowledgment.stream == sender.stream && known {
            sender.acknowledged(acknowledgment.sequence, now, chassis, &mut self.stats);
        }
    }
}
