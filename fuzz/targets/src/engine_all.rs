//! Input: two octets (how it ends; the first program), then operations of four octets: packets of both families from either
//! side, built, repeated, answered, quoted in errors, cut in fragments, or the fuzzer's own; time, routes, reloads, questions,
//! clearing. They run on one engine with every kind of translation and tables so small that all run out.
//!
//! Held: every packet has a verdict; what is forwarded is well-formed, one hop older, no longer than its next hop takes, and
//! its checksum is as right as it was; what is not forwarded is untouched where others need it; the books agree after every
//! burst; and at the end everything can be cleared: no session, mapping, subscriber, block, port or extent is left. So
//! each input begins with an empty engine, though building one is far too slow to do it for each.

mod books;
mod craft;
mod net;
mod packets;
mod plans;
mod sets;
mod world;

use std::cell::RefCell;

use tandem_engine::view::{Ask, Filter};

use craft::{Octets, Script};
use world::World;

/// Inputs one engine serves, at most: time goes on from input to input, and has an end.
const RUNS_MAX: u32 = 2048;

thread_local! {
    static WORLD: RefCell<Option<(World, u32)>> = const { RefCell::new(None) };
}

fn operation(script: &mut Script<'_>, world: &mut World, [code, a, b, c]: [u8; 4]) {
    if code & 0x80 == 0 {
        world.flush();
    }
    match code & 0x1f {
        0..=9 => script.inside(world, code & 0x1f, a, b, c),
        10..=13 => script.outside(world, code & 3, a, b, c),
        14..=17 => script.answer(world, a, b, c),
        18 | 19 => script.again(world, a, b, c),
        20 | 21 => script.error_about(world, a, b, c),
        22 => script.fragments_of(world, a, b, c),
        23 => script.own(world, a, b, c),
        24 | 25 => {
            world.flush();
            world.advance(
                u32::from(a) * [1, 1, 10, 600][usize::from(b & 3)],
                usize::from(c % 40),
            );
        }
        26 => {
            world.flush();
            world.apply(a);
        }
        27 => {
            world.flush();
            world.net.generation = world.net.generation.wrapping_add(1);
        }
        28 | 29 => {
            world.flush();
            let asks = [
                Ask::Sessions,
                Ask::Mappings,
                Ask::Blocks,
                Ask::Subscribers,
                Ask::CountSessions,
            ];
            world.ask(asks[usize::from(a) % asks.len()], script.filter(b, c));
        }
        30 => {
            world.flush();
            world.ask(Ask::Reevaluate, script.filter(b, c));
        }
        _ => {
            world.flush();
            world.ask(Ask::ClearSessions, script.filter(b, c));
        }
    }
}

fn script(world: &mut World, data: &[u8]) {
    let mut octets = Octets(data);
    let (end, program) = (octets.octet(), octets.octet());
    world.apply(program);
    let mut script = Script { octets };
    while let Some(op) = script.octets.four() {
        operation(&mut script, world, op);
    }
    world.end(end);
    let left = world.ask(Ask::Subscribers, Filter::default()) + world.ask(Ask::Mappings, Filter::default());
    assert_eq!(left, 0);
}

/// Runs one input.
pub fn run(data: &[u8]) {
    // An engine in which something went wrong serves no further input.
    let world = WORLD.with(|world| world.borrow_mut().take());
    let (mut world, runs) = world
        .filter(|(_, runs)| *runs < RUNS_MAX)
        .unwrap_or_else(|| (World::new(), 0));
    script(&mut world, data);
    WORLD.with(|kept| *kept.borrow_mut() = Some((world, runs + 1)));
}
