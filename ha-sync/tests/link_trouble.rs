//! What a link makes of batches it does not understand, and of configurations that differ.

mod common;

use common::config;
use common::model::Model;
use common::net::{Faults, World, frames};
use ha_sync::chassis::Chassis;
use ha_sync::frame::{self, HEADER_LEN};
use ha_sync::link::{Difference, Differs, Link, LinkState};
use ha_sync::wire::{BatchHeader, PARTS_MAX, Part};
use tandem_engine::replica::{Lease, LeaseChange};

/// What an end says, the first batch of it with a record of a type that nobody knows when `spoiled`.
fn say(link: &mut Link, model: &mut Model, now: u64, spoiled: bool) -> Vec<u8> {
    let mut out = Vec::new();
    link.poll(now, model, &mut out);
    let mut said = Vec::new();
    for octets in frames(&out) {
        let is_batch = octets.get(6..8) == Some(&[0, 2]);
        if !is_batch || !spoiled {
            said.extend(octets);
            continue;
        }
        let (header, _) = BatchHeader::decode(&octets[HEADER_LEN..]).expect("a batch");
        if header.sequence != 1 {
            said.extend(octets);
            continue;
        }
        let header = BatchHeader { count: 1, ..header };
        let payload = [&header.octets()[..], &[0, 250]].concat();
        let mut made = vec![0; HEADER_LEN + payload.len()];
        frame::encode(&mut made, 2, &payload).expect("it fits");
        said.extend(made);
    }
    said
}

#[test]
fn a_batch_that_is_not_understood_is_given_up_and_a_bulk_asked_for_instead() {
    let (mut teller, mut hearer) = (Link::new(config(1)), Link::new(config(2)));
    let (mut told, mut heard) = (Model::new(1), Model::new(2));
    (0..50).for_each(|_| told.act(100));
    let mut refused = 0;
    let mut now = 0;
    for _ in 0..3 {
        now += 5000;
        teller.connected(now);
        hearer.connected(now);
        for _ in 0..6 {
            told.walk();
            heard.walk();
            let said = say(&mut teller, &mut told, now, true);
            if hearer.received(now, &said, &mut heard).is_err() {
                refused += 1;
                break;
            }
            let said = say(&mut hearer, &mut heard, now, false);
            teller.received(now, &said, &mut told).expect("it is understood");
        }
        if hearer.state().wants_close() {
            teller.disconnected(now);
            hearer.disconnected(now);
        }
    }
    let stats = hearer.stats();
    assert_eq!((refused, stats.batches_refused), (2, 2));
    let poison = stats.poison.expect("it is named");
    assert!(
        stats.batches_skipped >= 1 && poison.error.to_string().contains("250"),
        "{poison:?}"
    );
    assert!(teller.stats().bulks_sent > 1, "it was asked for a bulk");
    // The bulk that it asks for makes up for it, once it can be understood.
    for _ in 0..400 {
        now += 1000;
        told.walk();
        heard.walk();
        let said = say(&mut teller, &mut told, now, false);
        hearer.received(now, &said, &mut heard).expect("it is understood");
        let said = say(&mut hearer, &mut heard, now, false);
        teller.received(now, &said, &mut told).expect("it is understood");
    }
    assert!(
        hearer.state().is_active() && teller.state().is_active(),
        "{:?}",
        hearer.state()
    );
    assert_eq!(told.mine, heard.copy());
}

#[test]
fn what_waits_for_room_and_what_workers_still_have_is_shown() {
    let mut world = World::new([config(1), config(2)], Faults::default(), 1);
    world.connect();
    world.settle();
    world.models[1].full = true;
    (0..50).for_each(|_| world.models[0].act(100));
    world.steps(30, 100);
    let wait = world.links[1].stats().install_wait_ms;
    assert!((2000..=3000).contains(&wait), "{wait}");
    assert!(world.links[0].stats().lag_ms >= 2000);
    world.settle();
    assert_eq!(world.links[1].stats().install_wait_ms, 0);
    assert_eq!(world.links[0].stats().lag_ms, 0);
    // Nothing is in the link, but workers have something since then.
    world.models[0].waiting_since = Some(world.now);
    world.steps(10, 100);
    assert_eq!(world.links[0].stats().lag_ms, 1000);
    assert_eq!(world.models[0].waiting_since(), Some(world.now - 1000));
}

fn part(name: &str, digest: u64, beside: bool) -> Part {
    Part {
        name: name.to_owned(),
        digest,
        beside,
    }
}

#[test]
fn differing_parts_are_named_on_both_and_those_beside_stop_nothing() {
    let mut world = World::new([config(1), config(2)], Faults::default(), 1);
    let many = |digest: u64| {
        (0..3000).map(move |n| part(&format!("pools.p{n:05}.a-rather-long-name"), digest, false))
    };
    let first = many(7).chain([
        part("pools.here", 1, false),
        part("nat-rules.r", 1, false),
        part("mapping m", 1, true),
    ]);
    let second = many(7).chain([
        part("pools.there", 1, false),
        part("nat-rules.r", 2, false),
        part("mapping m", 1, true),
    ]);
    world.links[0].set_parts(first.collect());
    world.links[1].set_parts(second.collect());
    world.connect();
    world.settle();
    assert!(world.links[0].differences().is_empty(), "the digests are equal");
    world.links[1].set_digest([8; 32]);
    world.steps(40, 10);
    let found = |world: &World, at: usize| -> Vec<(String, Differs, bool)> {
        let all = world.links[at].differences();
        all.iter()
            .map(|d: &Difference| (d.name.clone(), d.differs, d.beside))
            .collect()
    };
    let named = |name: &str, differs| (name.to_owned(), differs, false);
    assert_eq!(
        found(&world, 0),
        [
            named("nat-rules.r", Differs::Otherwise),
            named("pools.here", Differs::OnlyHere),
            named("pools.there", Differs::OnlyThere)
        ]
    );
    assert_eq!(found(&world, 1)[1], named("pools.here", Differs::OnlyThere));
    world.links[1].set_digest([7; 32]);
    world.links[1].set_parts(vec![part("mapping m", 2, true), part("mapping n", 2, true)]);
    world.steps(40, 10);
    assert!(world.links[0].state().is_active());
    let beside = |name: &str, differs| (name.to_owned(), differs, true);
    let expect = [
        beside("mapping m", Differs::Otherwise),
        beside("mapping n", Differs::OnlyThere),
    ];
    assert_eq!(found(&world, 0), expect);
    world.links[0].set_parts(vec![part("mapping m", 2, true), part("mapping n", 2, true)]);
    world.steps(4, 10);
    assert!((0..2).all(|at| found(&world, at).is_empty()));
    // There is a bound, and a stream that ends takes along what the peer said.
    let too_many = (0..=PARTS_MAX).map(|n| part(&format!("{n:05}"), 1, true));
    world.links[0].set_parts(too_many.collect());
    world.steps(40, 10);
    // What the second has comes behind the last name that it was told: the first may have it, too.
    let found_there = found(&world, 1);
    assert_eq!(found_there.len(), PARTS_MAX);
    assert!(
        found_there
            .iter()
            .all(|(_, differs, _)| *differs == Differs::OnlyThere)
    );
    world.disconnect();
    assert!(found(&world, 1).is_empty());
}

/// What link `from` says at a time is heard by the other.
fn carry(links: &mut [Link; 2], models: &mut [Model; 2], from: usize, now: u64) {
    let said = say(&mut links[from], &mut models[from], now, false);
    let to = 1 - from;
    let used = links[to].received(now, &said, &mut models[to]);
    assert_eq!(used, Ok(said.len()));
}

#[test]
fn a_peer_is_heard_from_its_hello_on_and_not_while_the_link_is_suspended() {
    let mut links = [1, 2].map(|incarnation| Link::new(config(incarnation)));
    let mut models = [Model::new(1), Model::new(2)];
    links.iter_mut().for_each(|link| link.connected(1000));
    let lease = Lease { public: 5, extent: 1 };
    models[0].offers.push_back(LeaseChange::Offer(lease));
    // The hello comes with the first batch; the model would not be told before it has heard.
    let mut said = say(&mut links[0], &mut models[0], 1000, false);
    carry(&mut links, &mut models, 1, 1000);
    said.extend(say(&mut links[0], &mut models[0], 1010, false));
    assert_eq!(
        links[1].received(1010, &said, &mut models[1]),
        Ok(said.len()),
        "all of it"
    );
    assert_eq!(models[1].told, [lease].into());
    assert_eq!(models[1].heard_ms, Some(1010));
    // Suspended: they go on talking, and neither goes by what the other said for long.
    links[0].set_digest([8; 32]);
    for now in (2000..90_000).step_by(500) {
        for from in 0..2 {
            carry(&mut links, &mut models, from, now);
            assert!(matches!(links[1 - from].state(), LinkState::Suspended(_)));
        }
    }
    assert!(models.iter().all(|model| model.heard_ms <= Some(2000)));
    links[1].set_digest([8; 32]);
    for from in [1, 0, 1] {
        carry(&mut links, &mut models, from, 90_000);
    }
    assert!(models.iter().all(|model| model.heard_ms == Some(90_000)));
}
