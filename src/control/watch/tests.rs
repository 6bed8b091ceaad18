use super::draw::{Line, draw};
use super::*;
use crate::agent::report::{Fact, Report};
use crate::agent::time::Instant;
use crate::control::document::WallClock;
use crate::control::events::record::{Entry, What};
use crate::control::sample;
use std::time::Duration;

fn text(lines: &[Line]) -> String {
    let line = |line: &Line| {
        let pieces = line.iter().map(|(_, text)| text.as_str());
        pieces.collect::<String>().trim_end().to_owned()
    };
    lines.iter().map(|one| line(one) + "\n").collect()
}

fn shown(model: &Model, columns: usize, rows: usize) -> String {
    let lines = draw(model, sample::wall(), columns, rows);
    assert_eq!(lines.len(), rows);
    for line in &lines {
        let width: usize = line.iter().map(|(_, text)| text.chars().count()).sum();
        assert!(width <= columns, "{width} of {columns}: {line:?}");
        let mut all = line.iter();
        assert!(
            all.all(|(_, text)| !text.contains(char::is_control)),
            "{line:?}"
        );
    }
    text(&lines)
}

fn events(count: u64) -> Vec<Record> {
    let start = Instant::from_nanos(100_000_000_000);
    let clock = WallClock::new(start, sample::wall() - Duration::from_secs(60));
    let record = |id: u64| {
        let at = start + Duration::from_millis(id * 7);
        let what = What::Core(Report {
            at,
            instance: Some(InstanceName::new("web")),
            fact: Fact::Announced { addresses: 2 },
        });
        Record::new(id, 1, "lb1", clock, &Entry { at, what })
    };
    (1..=count).map(record).collect()
}

#[test]
fn it_is_readable_at_80_by_24() {
    let mut model = Model::new(sample::cluster());
    model.add_events(events(20));
    insta::assert_snapshot!(shown(&model, 80, 24));
}

#[test]
fn one_host_alone() {
    let mut model = Model::new(sample::document());
    model.add_events(events(3));
    for _ in 0..4 {
        assert_eq!(model.key(Key::Down), None);
    }
    insta::assert_snapshot!(shown(&model, 80, 24));
}

#[test]
fn no_size_and_no_length_breaks_it() {
    let mut document = sample::cluster();
    let one = document.instances[0].clone();
    for number in 0..100 {
        let mut one = one.clone();
        one.name = format!("instance-with-a-long-name-{number:03}");
        document.instances.push(one);
    }
    let mut model = Model::new(document);
    model.add_events(events(500));
    assert!(model.steps.len() <= STEPS_MAX);
    for rows in 1..50 {
        for columns in [1, 2, 10, 40, 80, 81, 200] {
            shown(&model, columns, rows);
        }
    }
    // Whichever is chosen is in sight.
    for _ in 0..105 {
        let name = model.chosen.clone().unwrap();
        let shown = shown(&model, 80, 24);
        let name: String = name.chars().take(14).collect();
        assert!(shown.contains(&format!("> {name}")), "{name}:\n{shown}");
        model.key(Key::Down);
    }
}

#[test]
fn nothing_moves_without_a_yes() {
    let mut model = Model::new(sample::document());
    let wish = |order| Deed::Order(Wish { node: None, order });
    let web = InstanceName::new("web");
    while model.chosen.as_deref() != Some("web") {
        model.key(Key::Down);
    }
    for (letter, order, verb) in [
        (
            'h',
            Order::Handover {
                instance: web.clone(),
                to: None,
            },
            "hand over web",
        ),
        (
            'd',
            Order::Drain {
                instance: Some(web.clone()),
                span: None,
                force: false,
            },
            "drain web",
        ),
        (
            'u',
            Order::Undrain {
                instance: Some(web.clone()),
            },
            "undrain web",
        ),
    ] {
        for no in [
            Key::Letter('n'),
            Key::Leave,
            Key::Letter('q'),
            Key::Down,
            Key::Letter('Y'),
        ] {
            assert_eq!(model.key(Key::Letter(letter)), None);
            assert!(shown(&model, 80, 24).contains(verb));
            assert_eq!(model.key(no), None);
            assert_eq!(model.question, None);
        }
        assert_eq!(model.key(Key::Letter('y')), None, "a yes to nothing");
        assert_eq!(model.key(Key::Letter(letter)), None);
        assert_eq!(model.key(Key::Letter('y')), Some(wish(order)));
        // Until that is over there is no other.
        assert_eq!(model.key(Key::Letter('d')), None);
        assert_eq!(model.question, None);
        assert!(shown(&model, 80, 24).contains(&format!("under way: {verb}")));
        model.hear(Ok("web was handed over to lb2".to_owned()));
        assert!(shown(&model, 80, 24).ends_with("web was handed over to lb2\n"));
    }
    assert_eq!(model.key(Key::Letter('q')), Some(Deed::Quit));
    assert_eq!(model.key(Key::Leave), Some(Deed::Quit));
    model.key(Key::Letter('d'));
    assert_eq!(
        model.key(Key::Interrupt),
        Some(Deed::Quit),
        "whatever is asked"
    );
}

#[test]
fn an_agent_that_goes_and_comes_is_shown_as_that() {
    let mut model = Model::new(sample::document());
    model.key(Key::Letter('d'));
    model.question = None;
    let then = sample::wall() - Duration::from_secs(5);
    model.lose(then, "no agent answers".to_owned());
    model.lose(sample::wall(), "no agent runs here".to_owned());
    let text = shown(&model, 80, 24);
    assert!(
        text.contains("NO ANSWER for 5 s; below is the past. no agent runs here"),
        "{text}"
    );
    assert_eq!(model.key(Key::Letter('d')), None);
    assert_eq!(
        model.question, None,
        "nothing is ordered of who does not answer"
    );
    let mut document = sample::document();
    document.instances.retain(|one| one.name != "api");
    assert_eq!(model.chosen.as_deref(), Some("api"));
    model.update(document);
    assert!(!shown(&model, 80, 24).contains("NO ANSWER"));
    assert_eq!(
        model.chosen.as_deref(),
        Some("cache"),
        "the chosen one is gone"
    );
    model.update(Document {
        instances: Vec::new(),
        ..sample::document()
    });
    assert!(shown(&model, 80, 24).contains("none on this node"));
    model.key(Key::Letter('h'));
    assert_eq!(model.question, None);
}
