use super::*;
use crate::control::sample;

#[test]
fn every_field() {
    insta::assert_snapshot!(sample::document().to_json().unwrap());
}

#[test]
fn reads_what_it_wrote_and_what_a_newer_agent_adds() {
    let document = sample::document();
    let mut value = serde_json::to_value(&document).unwrap();
    value["added_later"] = serde_json::json!({"any": ["thing"]});
    value["instances"][0]["added_later"] = true.into();
    value["instances"][0]["counters"]["added_later"] = 7.into();
    value["checks"][0]["state"] = "of-a-newer-agent".into();
    value["checks"][0]["added_later"] = 7.into();
    let read: Document = serde_json::from_value(value).unwrap();
    assert_eq!(read.instances.len(), document.instances.len());
    let mut expected = document;
    expected.checks[0].state = "of-a-newer-agent".to_owned();
    assert_eq!(read.to_json().unwrap(), expected.to_json().unwrap());
}

#[test]
fn reads_what_an_older_agent_says() {
    let mut value = serde_json::to_value(sample::document()).unwrap();
    for instance in value["instances"].as_array_mut().unwrap() {
        instance.as_object_mut().unwrap().remove("hooks").unwrap();
    }
    for later in ["nodes", "link"] {
        value.as_object_mut().unwrap().remove(later).unwrap();
    }
    let read: Document = serde_json::from_value(value).unwrap();
    assert!(read.instances.iter().all(|one| one.hooks.is_empty()));
    assert!(read.nodes.is_empty() && read.link.refused.is_empty());
}
