//! Random operations, checked against the model after every one of them.
//!
//! Keys are few and alike, so that batches meet, prefixes lie inside each other and ranges end in
//! odd places. A failing sequence is shrunk to the smallest one that still fails.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use super::model::Model;
use super::{Subject, block_on};
use crate::{Batch, Check, CommitError, Expect, Limits, Op, Range, ReadError, Revision, Store};

const KEYS: [&str; 8] = ["a", "a/", "a/b", "a/b/c", "a0", "b", "b\u{1}", "ü"];

/// What a write expects, to be made concrete when its turn comes.
#[derive(Clone, Copy, Debug)]
enum Hope {
    Any,
    Absent,
    Present,
    Current,
    Stale,
}

#[derive(Clone, Debug)]
enum Action {
    Commit {
        checks: Vec<(usize, Hope)>,
        ops: Vec<(usize, Hope, Option<Vec<u8>>)>,
    },
    /// Start, end, how far back, limit.
    Range(usize, Option<usize>, u64, usize),
    Get(usize, u64),
    Log(u64, usize),
    Compact(u64),
    Reopen,
}

fn hope() -> impl Strategy<Value = Hope> {
    prop_oneof![
        4 => Just(Hope::Any),
        2 => Just(Hope::Current),
        1 => Just(Hope::Absent),
        1 => Just(Hope::Present),
        1 => Just(Hope::Stale),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    let value = proptest::collection::vec(any::<u8>(), 0..20);
    let op = (
        0..KEYS.len(),
        hope(),
        proptest::option::weighted(0.7, value),
    );
    let checks = proptest::collection::vec((0..KEYS.len(), hope()), 0..2);
    let ops = proptest::collection::vec(op, 1..5);
    let place = || 0..KEYS.len();
    prop_oneof![
        12 => (checks, ops).prop_map(|(checks, ops)| Action::Commit { checks, ops }),
        4 => (place(), proptest::option::of(place()), 0..6u64, 1..6usize)
            .prop_map(|(start, end, back, limit)| Action::Range(start, end, back, limit)),
        2 => (place(), 0..6u64).prop_map(|(key, back)| Action::Get(key, back)),
        3 => (0..8u64, 1..6usize).prop_map(|(back, limit)| Action::Log(back, limit)),
        1 => (0..6u64).prop_map(Action::Compact),
        1 => Just(Action::Reopen),
    ]
}

pub(super) fn run<S: Subject>(cases: u32, make: &impl Fn(Limits) -> S) {
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let sequences = proptest::collection::vec(action(), 1..60);
    let result = runner.run(&sequences, |actions| {
        block_on(async {
            let mut subject = make(Limits::default());
            let mut store = subject.open().await;
            let mut model = Model::new();
            for action in &actions {
                if let Action::Reopen = action {
                    store = subject.reopen(store).await;
                }
                step(&*store, &mut model, action).await?;
                prop_assert_eq!(store.revision(), model.revision());
                prop_assert_eq!(store.floor(), model.floor);
            }
            let store = subject.reopen(store).await;
            check_all(&store, &model).await
        })
    });
    if let Err(error) = result {
        super::fail(&error.to_string());
    }
}

fn key(place: usize) -> Bytes {
    Bytes::from_static(KEYS[place].as_bytes())
}

fn expect(hope: Hope, model: &Model, key: &Bytes) -> Expect {
    let current = model.present().get(key).map(|entry| entry.0);
    match (hope, current) {
        (Hope::Any, _) => Expect::Any,
        (Hope::Absent, _) | (Hope::Current, None) => Expect::Absent,
        (Hope::Present, _) => Expect::Present,
        (Hope::Current, Some(version)) => Expect::Version(version),
        (Hope::Stale, current) => {
            Expect::Version(crate::Version(current.map_or(7, |version| version.0 + 1)))
        }
    }
}

fn batch(checks: &[(usize, Hope)], ops: &[(usize, Hope, Option<Vec<u8>>)], model: &Model) -> Batch {
    let mut batch = Batch {
        lane: checks.len() as u64,
        ..Batch::default()
    };
    for (place, hope) in checks {
        let key = key(*place);
        batch.checks.push(Check {
            expect: expect(*hope, model, &key),
            key,
        });
    }
    for (place, hope, value) in ops {
        let key = key(*place);
        if batch.ops.iter().all(|op| op.key != key) {
            let expect = expect(*hope, model, &key);
            let put = value.clone().map(Bytes::from);
            batch.ops.push(Op {
                key,
                expect,
                put,
                attachment: None,
            });
        }
    }
    batch
}

async fn step(store: &dyn Store, model: &mut Model, action: &Action) -> Result<(), TestCaseError> {
    let back = |back: &u64| Revision(model.revision().0.saturating_sub(*back));
    match action {
        Action::Commit { checks, ops } => {
            let batch = batch(checks, ops, model);
            let wanted = model.commit(&batch);
            match (store.commit(batch).await, wanted) {
                (Ok(committed), Ok(versions)) => {
                    prop_assert_eq!(committed.versions, versions);
                    prop_assert_eq!(committed.revision, model.revision());
                }
                (Err(error), Err(wanted)) => prop_assert_eq!(error, wanted),
                (answer, wanted) => prop_assert!(false, "{answer:?} instead of {wanted:?}"),
            }
        }
        Action::Range(start, end, ago, limit) => {
            let at = (*ago > 0).then(|| back(ago));
            let end = end.map(key);
            check_range(
                store,
                model,
                Range {
                    start: key(*start),
                    end,
                    at,
                    limit: *limit,
                },
            )
            .await?;
        }
        Action::Get(place, ago) => {
            let at = (*ago > 0).then(|| back(ago));
            let (start, end) = (
                key(*place),
                [KEYS[*place].as_bytes(), b"\0"].concat().into(),
            );
            let range = Range {
                start,
                end: Some(end),
                at,
                limit: 1,
            };
            let got = store.get(key(*place), at).await;
            match at {
                Some(at) if at < model.floor => {
                    prop_assert_eq!(got, Err(ReadError::Compacted { floor: model.floor }));
                }
                _ => {
                    let wanted = model.range(&range).entries.into_iter().next();
                    prop_assert_eq!(got, Ok(wanted));
                }
            }
        }
        Action::Log(ago, limit) => check_log(store, model, back(ago), *limit).await?,
        Action::Compact(ago) => {
            let to = back(ago);
            prop_assert_eq!(store.compact(to).await, Ok(()));
            model.floor = model.floor.max(to);
        }
        Action::Reopen => {}
    }
    Ok(())
}

async fn check_range(store: &dyn Store, model: &Model, range: Range) -> Result<(), TestCaseError> {
    let page = store.range(range.clone()).await;
    match range.at {
        Some(at) if at < model.floor => {
            prop_assert_eq!(page, Err(ReadError::Compacted { floor: model.floor }));
        }
        _ => prop_assert_eq!(page, Ok(model.range(&range))),
    }
    Ok(())
}

/// Reads the log in pages and compares it with all that the model knows.
async fn check_log(
    store: &dyn Store,
    model: &Model,
    after: Revision,
    limit: usize,
) -> Result<(), TestCaseError> {
    let mut from = after;
    let mut found = Vec::new();
    loop {
        let page = match store.log(from, limit).await {
            Ok(page) => page,
            Err(error) => {
                prop_assert!(after < model.floor, "log after {after} refused: {error}");
                prop_assert_eq!(error, ReadError::Compacted { floor: model.floor });
                return Ok(());
            }
        };
        prop_assert!(
            after >= model.floor,
            "log after {after} answered below the floor"
        );
        let Some(last) = page.commits.last() else {
            break;
        };
        from = last.revision;
        let more = page.more;
        found.extend(
            page.commits
                .into_iter()
                .map(|commit| (commit.revision, commit.changes)),
        );
        if !more {
            break;
        }
    }
    prop_assert_eq!(found, model.changes(after));
    Ok(())
}

/// Everything that can be read, against everything that the model knows.
async fn check_all(store: &Arc<dyn Store>, model: &Model) -> Result<(), TestCaseError> {
    for at in 0..=model.revision().0 {
        let at = Revision(at);
        check_range(
            &**store,
            model,
            Range {
                at: Some(at),
                limit: 100,
                ..Range::default()
            },
        )
        .await?;
        check_log(&**store, model, at, 3).await?;
    }
    let future = model.revision().next();
    let current = model.revision();
    let read = store.get(key(0), Some(future)).await;
    prop_assert_eq!(read, Err(ReadError::Future { current }));
    let empty = Batch::default();
    prop_assert!(matches!(
        store.commit(empty).await,
        Err(CommitError::Invalid(_))
    ));
    Ok(())
}
