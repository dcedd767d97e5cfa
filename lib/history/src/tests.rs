//! A sound history is accepted; every way in which a server can be wrong is planted and found.

use super::*;

fn key(name: &str) -> Key {
    ("c".to_owned(), name.to_owned())
}

fn op(name: &str, act: Act, times: (u64, u64), outcome: Outcome) -> Op {
    let (start, end) = (
        Duration::from_millis(times.0),
        Duration::from_millis(times.1),
    );
    Op {
        key: key(name),
        act,
        start,
        end,
        outcome,
    }
}

fn event(kind: Kind, name: &str, version: u64, value: u64) -> Event {
    Event {
        kind,
        key: key(name),
        state: State { version, value },
    }
}

/// A create (value 0), an update nobody was told of (1), a read, a delete.
fn sound() -> History {
    let read = Outcome::Found(State {
        version: 20,
        value: 1,
    });
    let events = vec![
        event(Kind::Added, "a", 10, 0),
        event(Kind::Modified, "a", 20, 1),
        event(Kind::Deleted, "a", 30, 1),
    ];
    let even = View {
        rest: Some((2, 0)),
        ..View::default()
    };
    let named = View {
        name: Some("b".to_owned()),
        ..View::default()
    };
    let watch = |view, after, until, events| Watch {
        view,
        after,
        listed: None,
        until,
        events,
    };
    let leaves = vec![
        event(Kind::Added, "a", 10, 0),
        event(Kind::Deleted, "a", 20, 0),
    ];
    History {
        version: 5,
        ops: vec![
            op("a", Act::Create, (0, 10), Outcome::Written(10)),
            op("a", Act::Update(Some(10)), (20, 90), Outcome::Unknown),
            op("a", Act::Get, (30, 40), read),
            op("a", Act::Delete(20), (50, 60), Outcome::Deleted),
            op(
                "a",
                Act::List,
                (70, 80),
                Outcome::Listed(31, BTreeMap::new()),
            ),
        ],
        watches: vec![
            watch(View::default(), 5, 30, events.clone()),
            watch(even, 5, 30, leaves),
            // Began with a list in the middle, and came no further than the update.
            Watch {
                listed: Some(
                    [(
                        key("a"),
                        State {
                            version: 10,
                            value: 0,
                        },
                    )]
                    .into(),
                ),
                ..watch(View::default(), 15, 25, events[1..2].to_vec())
            },
            watch(named, 5, 40, Vec::new()),
        ],
        log: events,
        ..History::default()
    }
}

#[test]
fn a_sound_history_is_accepted() {
    let judged = sound().check().unwrap();
    assert_eq!(
        (judged.writes, judged.unacknowledged, judged.events),
        (3, 1, 6)
    );
    assert!(sound().after().is_empty());
}

/// The net catches fish: every way in which a server can be wrong is planted and found.
#[test]
fn every_planted_fault_is_found() {
    type Plant = fn(&mut History);
    let plants: &[(&str, Plant)] = &[
        ("is lost", |h| {
            h.ops
                .push(op("b", Act::Create, (0, 1), Outcome::Written(40)));
        }),
        ("nobody asked", |h| {
            h.log.push(event(Kind::Added, "b", 40, 99))
        }),
        ("an event is missing", |h| drop(h.log.remove(0))),
        ("came after", |h| {
            let twice = h.log[2].clone();
            h.log.push(twice);
        }),
        ("not what was answered", |h| {
            h.ops[1].outcome = Outcome::Conflict
        }),
        ("where version", |h| h.ops[1].act = Act::Update(Some(9))),
        // Read before the write began, though it tells the write's value.
        ("has no place", |h| {
            (h.ops[2].start, h.ops[2].end) = (Duration::ZERO, Duration::from_millis(5));
        }),
        // Read the old value after a reader before it had seen the new one.
        ("has no place", |h| {
            let old = Outcome::Found(State {
                version: 10,
                value: 0,
            });
            h.ops.push(op("a", Act::Get, (45, 46), old));
        }),
        ("has no place", |h| {
            h.ops.push(op("a", Act::Get, (12, 15), Outcome::Absent))
        }),
        ("the list at", |h| {
            let half = [(
                key("a"),
                State {
                    version: 20,
                    value: 1,
                },
            )]
            .into();
            h.ops[4].outcome = Outcome::Listed(31, half);
        }),
        ("has no place", |h| {
            h.ops[4].outcome = Outcome::Listed(9, BTreeMap::new())
        }),
        // A selector's departure is not told; an event comes twice; the first one is missing; two
        // are told the wrong way round.
        ("the watch of", |h| drop(h.watches[1].events.pop())),
        ("the watch of", |h| {
            let twice = h.watches[1].events[1].clone();
            h.watches[1].events.push(twice);
        }),
        ("the watch of", |h| drop(h.watches[0].events.remove(0))),
        ("the watch of", |h| h.watches[0].events.swap(0, 1)),
        // A departure told with the state that was not selected any more.
        ("the watch of", |h| h.watches[1].events[1].state.value = 1),
        // A bookmark that runs ahead of the events.
        ("the watch of", |h| h.watches[2].until = 30),
        // A list that shows too little, and one that shows what came later.
        ("begins with", |h| {
            h.watches[2].listed = Some(BTreeMap::new())
        }),
        ("begins with", |h| h.watches[2].after = 20),
        ("before the history", |h| h.watches[0].after = 4),
        // Another object's event in a watch of one name.
        ("the watch of", |h| {
            h.watches[3].events.push(event(Kind::Added, "a", 10, 0));
        }),
        // Refused, though its precondition held all the time.
        ("has no place", |h| {
            h.ops
                .push(op("a", Act::Update(Some(20)), (41, 45), Outcome::Conflict));
        }),
        ("has no place", |h| {
            h.ops.push(op("a", Act::Create, (70, 75), Outcome::Exists));
        }),
        ("happened twice", |h| {
            h.ops[0].outcome = Outcome::Unknown;
            h.log.push(event(Kind::Added, "a", 40, 0));
        }),
        ("that is no answer", |h| {
            h.ops.push(op("a", Act::Get, (70, 75), Outcome::Conflict));
        }),
    ];
    for (place, (words, plant)) in plants.iter().enumerate() {
        let mut history = sound();
        plant(&mut history);
        let error = format!("{:#}", history.check().expect_err(words));
        assert!(error.contains(words), "fault {place}: {error}");
    }
}
