//! What is too much is refused in words that name the policy.

use tandem_dataplane::classifier::AclBuilder;
use tandem_engine::program::policy::{
    Application, ClassifierBuilder, Policy, PolicyAction, PolicyKey, PolicyMatch,
};

use crate::random::v4;
use crate::{builder, eal};

fn policy(name: &str, part: PolicyMatch) -> Policy {
    Policy {
        id: 0,
        name: name.into(),
        action: PolicyAction::Permit,
        log: false,
        matches: vec![part],
    }
}

/// Every second address of `count`.
fn scattered(count: u32) -> Vec<(u128, u128)> {
    (0..count).map(|n| (v4(2 * n), v4(2 * n))).collect()
}

#[test]
fn a_cross_product_that_explodes_is_refused_by_name() {
    let fine = policy(
        "fine",
        PolicyMatch {
            sources: scattered(10),
            ..PolicyMatch::default()
        },
    );
    let wild = policy(
        "wild",
        PolicyMatch {
            sources: scattered(1000),
            destinations: scattered(1000),
            applications: vec![Application::ANY],
        },
    );
    let error = builder().build(&[fine.clone(), wild]).unwrap_err();
    // Each of the ten is a rule for IPv4, and one for those with an IPv6 destination.
    for part in ["\"wild\"", "1000000 ", "20 are taken", "200000 at most"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(builder().build(&[fine]).is_ok());
}

#[test]
fn nothing_matches_an_empty_list_and_everything_an_empty_match() {
    let keys = [PolicyKey::default(); 3];
    let mut found = [1; 3];
    let none = builder().build(&[]).unwrap();
    none.classify(&keys, &mut found);
    assert_eq!(found, [tandem_engine::program::policy::NO_POLICY; 3]);
    let mut open = policy("open", PolicyMatch::default());
    for matches in [open.matches.clone(), Vec::new()] {
        open.matches = matches;
        let all = builder().build(&[open.clone()]).unwrap();
        all.classify(&keys, &mut found);
        assert_eq!(found, [0; 3]);
    }
}

/// The default builder takes whichever is faster, and the plain one where tries would be too much for few policies.
#[test]
fn short_lists_stay_plain() {
    let web = Application {
        protocol: Some(6),
        destination_ports: (80, 443),
        ..Application::ANY
    };
    let simple = |n: u32| {
        let part = PolicyMatch {
            sources: vec![(v4(n << 8), v4(n << 8 | 255))],
            applications: vec![web],
            ..PolicyMatch::default()
        };
        policy(&format!("s{n}"), part)
    };
    let kind = |policies: &[Policy]| format!("{:?}", AclBuilder::new(eal()).build(policies).unwrap());
    let list: Vec<_> = (0..200).map(simple).collect();
    assert!(kind(&list[..10]).starts_with("Reference"));
    assert!(kind(&list).starts_with("AclClassifier"));
    assert!(builder().build(&list[..1]).is_ok(), "tries can be had for any");

    // 254 prefixes on each side, with each of four services.
    let all_but_the_ends = vec![(1, u128::MAX - 1)];
    let service = |port| Application {
        destination_ports: (port, port),
        ..web
    };
    let wide = PolicyMatch {
        sources: all_but_the_ends.clone(),
        destinations: all_but_the_ends,
        applications: (1..=4).map(service).collect(),
    };
    let few: Vec<_> = (0..10).map(|_| policy("wide", wide.clone())).collect();
    assert!(builder().build(&few).is_err());
    assert!(kind(&few).starts_with("Reference"));
}
