//! `docs/openapi.json` describes the API that there is.

use std::collections::BTreeSet;

use holdfast::control::api::{Method, ROUTES};
use serde_json::Value;

use crate::common::needs_root;
use crate::kit::{ask, done, wait_ready, wait_status};
use crate::rig::{Make, Node, Rig, wait_state};
use crate::variant::Variant;

fn document() -> Value {
    serde_json::from_str(include_str!("../../docs/openapi.json")).expect("JSON")
}

#[test]
fn the_routes_are_those_that_are_described() {
    let document = document();
    let described: BTreeSet<(String, String)> = document["paths"]
        .as_object()
        .expect("paths")
        .iter()
        .flat_map(|(path, methods)| {
            methods.as_object().expect("methods").keys().map(|method| (path.clone(), method.clone()))
        })
        .collect();
    let method = |method| match method {
        Method::Get => "get",
        Method::Post => "post",
    };
    let built: BTreeSet<_> =
        ROUTES.iter().map(|route| (route.path.to_owned(), method(route.method).to_owned())).collect();
    assert_eq!(described, built);
}

/// What is wrong with a value, by the parts of JSON Schema that the document uses. A field that is not described is wrong.
fn faults(document: &Value, schema: &Value, value: &Value, place: &str, found: &mut Vec<String>) {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().expect("a name");
        return faults(document, &document["components"]["schemas"][name], value, place, found);
    }
    if let Some(all) = schema["allOf"].as_array() {
        return all.iter().for_each(|schema| faults(document, schema, value, place, found));
    }
    if let Some(any) = schema["anyOf"].as_array() {
        let fits = any.iter().any(|schema| {
            let mut found = Vec::new();
            faults(document, schema, value, place, &mut found);
            found.is_empty()
        });
        if !fits {
            found.push(format!("{place}: {value} is none of {any:?}"));
        }
        return;
    }
    let actual = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let wanted = &schema["type"];
    let fits = wanted == actual || wanted.as_array().is_some_and(|types| types.iter().any(|t| t == actual));
    if !fits {
        return found.push(format!("{place}: {value} is no {wanted}"));
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        found.push(format!("{place}: {value} is none of {words:?}"));
    }
    if let Some(fields) = value.as_object() {
        for (name, field) in fields {
            let place = format!("{place}.{name}");
            match (schema["properties"].get(name), schema.get("additionalProperties")) {
                (Some(schema), _) => faults(document, schema, field, &place, found),
                (None, Some(schema)) if schema.is_object() => faults(document, schema, field, &place, found),
                _ => found.push(format!("{place} is not described")),
            }
        }
    }
    for item in value.as_array().into_iter().flatten() {
        faults(document, &schema["items"], item, &format!("{place}[]"), found);
    }
}

fn check(name: &str, text: &str) {
    let document = document();
    let value: Value = serde_json::from_str(text).expect("JSON");
    let mut found = Vec::new();
    faults(&document, &document["components"]["schemas"][name], &value, name, &mut found);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn what_a_daemon_says_is_as_described() {
    needs_root!();
    let v = Variant::V3;
    let more = "track_interface {\neth0 weight 10\n}";
    let server = "virtual_server 127.0.0.1 8080 {\nlb_kind PROXY\nprotocol TCP\nsorry_server 127.0.0.9 80\n\
                  real_server 127.0.0.7 80 {\nTCP_CHECK {\nconnect_timeout 1\n}\n}\n}\n";
    let nodes = vec![
        Node::new("a", Make::Holdfast, v.instance(0, 2, 150, more) + server),
        Node::new("b", Make::Holdfast, v.instance(1, 2, 100, "")),
    ];
    let mut rig = Rig::build(1, nodes);
    rig.start_in_turn();
    wait_state(rig.node(1), "VI_1", "BACKUP");
    let (a, b) = (rig.node(0), rig.node(1));
    wait_ready(a);
    check("PlanReport", &ask(a, Method::Post, "/v1/plan", "").1);
    done(a, &["reload"]);
    done(a, &["failover", "VI_1", "--no-wait"]);
    done(a, &["maintenance", "on", "--for", "1h", "--reason", "x", "--force"]);
    wait_status(a, "a master is heard", |s| s.instances[0].master.is_some());
    for node in [a, b] {
        check("Status", &ask(node, Method::Get, "/v1/status", "").1);
        let (code, events) = ask(node, Method::Get, "/v1/events", "");
        assert_eq!(code, 200);
        assert!(events.lines().count() > 1, "{events}");
        events.lines().for_each(|line| check("Event", line));
    }
    for (method, path) in
        [(Method::Get, "/v1/nothing"), (Method::Post, "/v1/instances/x/failover"), (Method::Post, "/v1/reload")]
    {
        check("Outcome", &ask(a, method, path, "").1);
    }
    assert_eq!(ask(a, Method::Get, "/v1/openapi.json", "").1, include_str!("../../docs/openapi.json"));
    // And the other way round: everything that is described is there.
    let status: Value = serde_json::from_str(&ask(b, Method::Get, "/v1/status", "").1).expect("JSON");
    let fields = |value: &Value| value.as_object().expect("an object").keys().cloned().collect::<BTreeSet<_>>();
    let described = |name: &str| fields(&document()["components"]["schemas"][name]["properties"]);
    assert_eq!(fields(&status), described("Status"));
    assert_eq!(fields(&status["daemon"]), described("Daemon"));
    assert_eq!(fields(&status["instances"][0]), described("Instance"));
    assert_eq!(fields(&status["instances"][0]["counters"]), described("Counters"));
}
