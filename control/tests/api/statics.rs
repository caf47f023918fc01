//! Static mappings: those of the file, and those set at run time.

use serde_json::{Value, json};

use super::daemon::Daemon;
use super::http::{Answer, delete, get, get_json, post};

fn add(daemon: &Daemon, body: &Value) -> Answer {
    post(daemon, "/v1/static-mappings", body.to_string().as_bytes())
}

fn names(daemon: &Daemon, query: &str) -> Vec<String> {
    let rows = get_json(daemon, &format!("/v1/static-mappings{query}"))["rows"].clone();
    let rows = rows.as_array().expect("rows").clone();
    rows.iter()
        .map(|row| row["name"].as_str().expect("a name").to_owned())
        .collect()
}

fn forward(name: &str, public: &str) -> Value {
    json!({"service-set": "subscribers-a", "name": name, "inside": "10.0.5.1", "public": public,
           "protocol": "udp", "public-ports": "5000-5009", "inbound-only": true})
}

#[test]
fn those_of_the_file_are_shown_as_it_writes_them() {
    let daemon = Daemon::start();
    let page = get_json(&daemon, "/v1/static-mappings");
    assert_eq!(page["count"], 2);
    assert_eq!(
        page["rows"],
        json!([
            {"service-set": "subscribers-a", "name": "mail", "origin": "config", "translation-type": "basic-nat44",
             "inside": "10.0.9.25", "public": "198.51.100.25", "protocol": null, "inside-ports": null,
             "public-ports": null, "inbound-only": false},
            {"service-set": "subscribers-a", "name": "web", "origin": "config", "translation-type": "dnat-44",
             "inside": "10.0.9.80", "public": "198.51.100.80", "protocol": "tcp", "inside-ports": "8080",
             "public-ports": "80", "inbound-only": true},
        ])
    );
}

#[test]
fn one_is_set_shown_and_taken_away() {
    let daemon = Daemon::start();
    let answer = add(&daemon, &forward("camera", "198.51.100.90"));
    assert_eq!(
        (answer.status, answer.json()),
        (200, json!({"generation": 5, "kept": false}))
    );
    assert_eq!(names(&daemon, ""), ["camera", "mail", "web"]);
    assert_eq!(names(&daemon, "?origin=api"), ["camera"]);
    assert_eq!(
        names(&daemon, "?origin=config&service-set=subscribers-a"),
        ["mail", "web"]
    );
    let row = get_json(&daemon, "/v1/static-mappings?origin=api")["rows"][0].clone();
    assert_eq!(
        (&row["public-ports"], &row["inside-ports"]),
        (&json!("5000-5009"), &json!("5000-5009"))
    );
    let path = "/v1/static-mappings?service-set=subscribers-a&name=camera";
    assert_eq!(delete(&daemon, path).status, 200);
    assert_eq!(names(&daemon, ""), ["mail", "web"]);
    let gone = delete(&daemon, path);
    assert_eq!(
        (gone.status, gone.json()["error"].clone()),
        (404, json!("not-found"))
    );
    let of_file = delete(&daemon, "/v1/static-mappings?service-set=subscribers-a&name=mail");
    assert_eq!(of_file.status, 404, "the file's are the file's");
}

#[test]
fn what_contradicts_the_configuration_is_refused_with_the_reason() {
    let daemon = Daemon::start();
    for (body, field, says) in [
        (forward("mail", "198.51.100.90"), "name", "of this name"),
        (forward("x", "198.51.100.25"), "", ""),
        (
            json!({"service-set": "subscribers-a", "name": "x", "inside": "10.0.5.1", "public": "203.0.113.7"}),
            "public",
            "pools.residential",
        ),
        (
            json!({"service-set": "nobody", "name": "x", "inside": "10.0.5.1", "public": "198.51.100.90"}),
            "service-set",
            "no such service set",
        ),
        (
            json!({"service-set": "subscribers-a", "name": "x", "inside": "10.0.5.1", "public": "198.51.100.25"}),
            "public",
            "mail",
        ),
    ] {
        let answer = add(&daemon, &body);
        if field.is_empty() {
            // Ports of an address that another has as a whole: the narrower decides, so that is no contradiction.
            assert_eq!(answer.status, 200, "{}", answer.text);
            assert_eq!(
                delete(&daemon, "/v1/static-mappings?service-set=subscribers-a&name=x").status,
                200
            );
            continue;
        }
        assert_eq!(answer.status, 409, "{body}: {}", answer.text);
        let problem = answer.json();
        assert_eq!(
            (&problem["error"], &problem["field"]),
            (&json!("conflict"), &json!(field)),
            "{body}"
        );
        assert!(
            problem["detail"].as_str().is_some_and(|d| d.contains(says)),
            "{problem}"
        );
    }
    assert_eq!(names(&daemon, ""), ["mail", "web"]);
}

#[test]
fn what_is_wrong_by_itself_is_a_bad_parameter() {
    let daemon = Daemon::start();
    for (body, says) in [
        ("", "not a static mapping as JSON"),
        ("[]", "not a static mapping as JSON"),
        ("{\"service-set\": \"subscribers-a\"}", "missing field"),
        ("{\"servce-set\": \"subscribers-a\"}", "unknown field"),
    ] {
        let answer = post(&daemon, "/v1/static-mappings", body.as_bytes());
        assert_eq!(answer.status, 400, "{body}: {}", answer.text);
        assert!(answer.text.contains(says), "{}", answer.text);
    }
    let mut wrong = forward("x", "198.51.100.90");
    wrong["inside"] = json!("nobody");
    let answer = add(&daemon, &wrong);
    assert_eq!(
        (answer.status, answer.json()["field"].clone()),
        (400, json!("inside"))
    );
    for (path, field) in [
        ("/v1/static-mappings?name=mail", "service-set"),
        ("/v1/static-mappings?service-set=subscribers-a", "name"),
        ("/v1/static-mappings?all=true", "all"),
    ] {
        let answer = delete(&daemon, path);
        assert_eq!(
            (answer.status, answer.json()["field"].clone()),
            (400, json!(field)),
            "{path}"
        );
    }
}

#[test]
fn pages_stay_right_while_others_come_and_go() {
    let daemon = Daemon::start();
    for n in 0..5 {
        let body = forward(&format!("m-{n}"), &format!("198.51.100.9{n}"));
        assert_eq!(add(&daemon, &body).status, 200);
    }
    let first = get_json(&daemon, "/v1/static-mappings?limit=3");
    assert_eq!(first["count"], 7);
    let next = first["next"].as_str().expect("four are left");
    // The last row of the page goes, and one before it.
    for name in ["m-0", "m-2"] {
        let path = format!("/v1/static-mappings?service-set=subscribers-a&name={name}");
        assert_eq!(delete(&daemon, &path).status, 200);
    }
    assert_eq!(
        names(&daemon, &format!("?limit=3&page={next}")),
        ["m-3", "m-4", "mail"]
    );
    let other = get(&daemon, &format!("/v1/static-mappings?origin=api&page={next}"));
    assert_eq!(other.status, 400, "a page of another filter");
}
