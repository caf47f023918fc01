//! Ends of different wire versions, each with its own codec: they speak the highest that both know, either way, and nothing that only
//! one knows is said.

mod common;

use common::net::{Faults, World};
use common::{config, dictionary};
use ha_sync::link::{Link, LinkConfig, LinkError, LinkState, Refusal};
use ha_sync::wire::{Hello, VERSION, Versions};
use tandem_engine::replica::{Lease, LeaseChange, ObjectTypes};
use tandem_engine::ticks::Ticks;

const fn to(highest: u16) -> Versions {
    Versions {
        highest,
        ..Versions::ALL
    }
}

fn pair(versions: [Versions; 2]) -> World {
    let of = |at: usize| LinkConfig {
        versions: versions[at],
        ..config(at as u64 + 1)
    };
    World::new([of(0), of(1)], Faults::default(), 5)
}

#[test]
fn ends_of_two_versions_tell_each_other_all_that_both_know() {
    for newer in 0..2 {
        for older in 0..VERSION {
            let mut versions = [to(older); 2];
            versions[newer] = Versions::ALL;
            let mut world = pair(versions);
            world.connect();
            for _ in 0..100 {
                for model in &mut world.models {
                    (0..10).for_each(|_| model.act(200));
                }
                world.step(1);
            }
            let lease = |extent| Lease { public: 9, extent };
            let rests = LeaseChange::Resting(lease(1), Ticks(100_000));
            for model in &mut world.models {
                model.offers.extend([rests, LeaseChange::Offer(lease(2))]);
            }
            world.settle();
            world.assert_equal();
            for (at, link) in world.links.iter().enumerate() {
                assert_eq!(link.version(), Some(older), "as end {at} sees it");
                assert_eq!(link.stats().unknown_messages, 0);
            }
            for model in &world.models {
                // Acknowledged like any lease; of what rests an older version says nothing, which is the longer rest.
                assert_eq!(model.leases, [lease(1), lease(2)].into());
                let offers = [1, 2].map(|extent| LeaseChange::Offer(lease(extent)));
                assert_eq!(model.lease_changes, offers);
            }
            // A bulk by types is one of all where types are not known.
            assert!(world.links[newer].resync_to_peer(ObjectTypes::BLOCKS));
            world.settle();
            world.assert_equal();
            let types = world.links[1 - newer].stats().bulk_received.types;
            assert_eq!(types == ObjectTypes::ALL, older == 0);
        }
    }
}

#[test]
fn two_newest_ends_tell_how_long_something_rests() {
    let mut world = pair([Versions::ALL; 2]);
    world.connect();
    world.settle();
    let lease = Lease { public: 9, extent: 1 };
    let until = Ticks((world.now / 100) as u32 + 500);
    world.models[0]
        .offers
        .push_back(LeaseChange::Resting(lease, until));
    world.settle();
    let told = &world.models[1].lease_changes;
    let [LeaseChange::Resting(same, heard)] = told[..] else {
        panic!("{told:?}");
    };
    // Never less than is left of it.
    assert!(
        same == lease && heard >= until && heard.since(until) <= Ticks(2),
        "{heard:?}"
    );
    assert_eq!(world.models[0].leases, [lease].into());
}

#[test]
fn an_end_may_come_back_with_another_version() {
    let mut world = pair([Versions::ALL, to(VERSION - 1)]);
    world.connect();
    (0..500).for_each(|_| world.models[0].act(200));
    world.settle();
    for (incarnation, version) in [(3, VERSION), (4, VERSION - 1), (5, VERSION)] {
        world.disconnect();
        // Another process, which knows nothing.
        world.models[1] = common::model::Model::new(incarnation);
        world.links[1] = Link::new(LinkConfig {
            versions: to(version),
            ..config(incarnation)
        });
        world.connect();
        (0..100).for_each(|_| world.models[0].act(200));
        world.settle();
        world.assert_equal();
        assert_eq!(world.links[0].version(), Some(version));
    }
}

#[test]
fn ends_without_a_common_version_refuse_each_other_and_name_both() {
    let too_new = Versions {
        lowest: VERSION + 1,
        highest: VERSION + 3,
    };
    for theirs in [
        too_new,
        Versions {
            lowest: VERSION,
            highest: VERSION,
        },
    ] {
        let ours = if theirs == too_new {
            Versions::ALL
        } else {
            to(VERSION - 1)
        };
        let mut link = Link::new(LinkConfig {
            versions: ours,
            ..config(1)
        });
        let mut model = common::model::Model::new(1);
        link.connected(1000);
        let hello = Hello {
            versions: theirs,
            revision: 1,
            incarnation: 2,
            peer_incarnation: 0,
            stream: 0,
            received: 0,
            shards: 4,
            replicate: true,
            exchanges: false,
            merges: false,
            digest: [7; 32],
            dictionary: dictionary().checksum(),
            roles: Vec::new(),
        };
        let mut payload = Vec::new();
        hello.encode(&mut payload);
        let mut frame = vec![0; 4096];
        let length = ha_sync::frame::encode(&mut frame, 1, &payload).expect("it fits");
        let refused = link.received(1001, &frame[..length], &mut model);
        let refusal = Refusal::Versions { ours, theirs };
        assert_eq!(refused, Err(LinkError::Refused(refusal)));
        assert_eq!(link.state(), &LinkState::Refused(refusal));
        let text = refusal.to_string();
        assert!(
            text.contains(&ours.to_string()) && text.contains(&theirs.to_string()),
            "{text}"
        );
        assert_eq!(ours.common(theirs), None);
    }
}
