//! The OpenAPI document: it is what is served, no more and no less.

use std::collections::BTreeSet;

use serde_json::Value;
use tandem_control::api::ErrorCode;

use super::daemon::Daemon;
use super::http::{get, get_json};

/// Every method and path there is. A new route must be written down here, and in docs/api.md.
const ROUTES: [(&str, &str); 39] = [
    ("get", "/metrics"),
    ("get", "/openapi.json"),
    ("get", "/v1/blocks"),
    ("get", "/v1/config"),
    ("get", "/v1/config/compare"),
    ("get", "/v1/config/files"),
    ("post", "/v1/config/files/synchronize"),
    ("post", "/v1/config/pull"),
    ("post", "/v1/config/reload"),
    ("get", "/v1/counters"),
    ("get", "/v1/drops"),
    ("get", "/v1/firewall/policies"),
    ("get", "/v1/health"),
    ("get", "/v1/interfaces"),
    ("post", "/v1/interfaces/{interface}/member"),
    ("get", "/v1/lookup"),
    ("get", "/v1/mappings"),
    ("get", "/v1/neighbours"),
    ("get", "/v1/pools"),
    ("get", "/v1/redundancy"),
    ("get", "/v1/redundancy-events"),
    ("get", "/v1/redundancy-sets"),
    ("get", "/v1/redundancy-sets/{set}"),
    ("post", "/v1/redundancy-sets/{set}/eligibility"),
    ("post", "/v1/redundancy-sets/{set}/role"),
    ("post", "/v1/redundancy-sets/{set}/switchover"),
    ("post", "/v1/redundancy-sets/{set}/warning"),
    ("get", "/v1/replication"),
    ("get", "/v1/replication/{group}/config"),
    ("post", "/v1/replication/{group}/resync"),
    ("get", "/v1/routes"),
    ("get", "/v1/sessions"),
    ("delete", "/v1/sessions"),
    ("get", "/v1/static-mappings"),
    ("post", "/v1/static-mappings"),
    ("delete", "/v1/static-mappings"),
    ("get", "/v1/subscribers"),
    ("get", "/v1/subscribers/{address}"),
    ("get", "/v1/version"),
];

const WORKERS: (&str, &str) = ("get", "/v1/workers");

fn expected() -> BTreeSet<(String, String)> {
    ROUTES
        .iter()
        .chain([&WORKERS])
        .map(|(m, p)| ((*m).to_owned(), (*p).to_owned()))
        .collect()
}

fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let of_path = |(path, item): (&String, &Value)| {
        let item = item.as_object().expect("a path item").clone();
        let path = path.clone();
        item.into_iter()
            .map(move |(method, operation)| (method, path.clone(), operation))
            .collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_path).collect()
}

#[test]
fn it_has_exactly_the_routes_there_are() {
    let daemon = Daemon::start();
    let document = get_json(&daemon, "/openapi.json");
    assert!(document["openapi"].as_str().is_some_and(|v| v.starts_with("3.")));
    assert_eq!(document["info"]["title"], "Tandem");
    assert!(
        document["info"]["version"]
            .as_str()
            .is_some_and(|v| !v.is_empty())
    );
    let found: BTreeSet<_> = operations(&document)
        .into_iter()
        .map(|(m, p, _)| (m, p))
        .collect();
    assert_eq!(found, expected());
    for (_, path) in expected()
        .into_iter()
        .filter(|(m, p)| m == "get" && !p.contains('{'))
    {
        // A look-up needs to be told what.
        let expect = if path == "/v1/lookup" { 400 } else { 200 };
        assert_eq!(
            get(&daemon, &path).status,
            expect,
            "{path} is documented and not served"
        );
    }
}

#[test]
fn every_operation_says_what_it_does_and_answers() {
    let daemon = Daemon::start();
    let mut ids = BTreeSet::new();
    for (method, path, operation) in operations(&get_json(&daemon, "/openapi.json")) {
        assert!(
            operation["summary"].as_str().is_some_and(|s| !s.is_empty()),
            "{method} {path}"
        );
        assert!(
            ids.insert(operation["operationId"].to_string()),
            "{method} {path}: the id is taken"
        );
        assert!(
            operation["tags"].as_array().is_some_and(|t| t.len() == 1),
            "{method} {path}"
        );
        let answers = operation["responses"].as_object().expect("responses");
        assert!(answers["200"]["content"].is_object(), "{method} {path}");
        for code in ErrorCode::ALL.iter().filter(|c| c.is_general()) {
            let status = code.status().as_u16().to_string();
            assert!(
                answers.contains_key(&status),
                "{method} {path} does not say {status}"
            );
        }
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            assert!(
                parameter["description"].as_str().is_some_and(|d| !d.is_empty()),
                "{path}: {parameter}"
            );
            assert!(parameter["schema"].is_object(), "{path}: {parameter}");
        }
    }
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(target)) = map.get("$ref") {
                found.insert(target.clone());
            }
            map.values().for_each(|v| references(v, found));
        }
        Value::Array(list) => list.iter().for_each(|v| references(v, found)),
        _ => {}
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let daemon = Daemon::start();
    let document = get_json(&daemon, "/openapi.json");
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.len() > 15, "only {found:?}");
    for target in found {
        let pointer = target
            .strip_prefix('#')
            .unwrap_or_else(|| panic!("{target} leads out of the document"));
        assert!(document.pointer(pointer).is_some(), "{target} leads nowhere");
    }
}

#[test]
fn documented_fields_are_those_of_a_real_answer() {
    let daemon = Daemon::start();
    let document = get_json(&daemon, "/openapi.json");
    for (path, schema) in [
        ("/v1/sessions", "Session"),
        ("/v1/mappings", "Mapping"),
        ("/v1/blocks", "Block"),
        ("/v1/workers", "Worker"),
        ("/v1/pools", "Pool"),
        ("/v1/counters", "Counter"),
        ("/v1/firewall/policies", "Policy"),
        ("/v1/static-mappings", "StaticMapping"),
        ("/v1/lookup?inside=10.0.0.1", "Holder"),
        ("/v1/replication", "ReplicationGroup"),
        ("/v1/redundancy-sets", "RedundancySet"),
    ] {
        let answer = get_json(&daemon, path);
        let served: BTreeSet<&String> = answer["rows"][0].as_object().expect("a row").keys().collect();
        let schema = &document["components"]["schemas"][schema]["properties"];
        let documented: BTreeSet<&String> = schema.as_object().expect("properties").keys().collect();
        assert_eq!(served, documented, "{path}");
    }
}

#[test]
fn the_reference_for_people_names_every_route_and_error() {
    let text = include_str!("../../../docs/api.md");
    for (method, path) in expected() {
        let heading = format!("{} {path}", method.to_uppercase());
        assert!(text.contains(&heading), "docs/api.md has no {heading:?}");
    }
    for code in ErrorCode::ALL {
        assert!(
            text.contains(&format!("`{}`", code.as_str())),
            "docs/api.md has no {:?}",
            code.as_str()
        );
    }
}
