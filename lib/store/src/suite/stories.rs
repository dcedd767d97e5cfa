//! Each promise of the contract told once, by hand, where a reader can follow it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Subject, fail, must};
use crate::limits::{MAX_CHECKS, MAX_KEY_BYTES};
use crate::{
    Batch, Check, Commit, CommitError, Committed, Expect, Limits, Observer, Op, Place, Range,
    ReadError, Revision, Store, Version,
};

type Story = fn(&mut dyn Subject) -> Pin<Box<dyn Future<Output = ()> + '_>>;

pub(super) const ALL: &[(&str, Story)] = &[
    ("versions and deletions", |subject| {
        Box::pin(versions(subject))
    }),
    ("preconditions", |subject| Box::pin(preconditions(subject))),
    (
        "observers see commits first, once and in order",
        |subject| Box::pin(observers(subject)),
    ),
    ("many writers lose nothing", |subject| {
        Box::pin(many_writers(subject))
    }),
    ("the past, the future and compaction", |subject| {
        Box::pin(compaction(subject))
    }),
    ("numbers go on after reopening", |subject| {
        Box::pin(reopening(subject))
    }),
    ("large values and odd bytes", |subject| {
        Box::pin(odd_bytes(subject))
    }),
];

fn put(key: &str, value: &str, expect: Expect) -> Op {
    let key = Bytes::copy_from_slice(key.as_bytes());
    let value = Bytes::copy_from_slice(value.as_bytes());
    Op {
        key,
        expect,
        put: Some(value),
        attachment: None,
    }
}

fn delete(key: &str, expect: Expect) -> Op {
    Op {
        put: None,
        ..put(key, "", expect)
    }
}

fn ops(ops: Vec<Op>) -> Batch {
    Batch {
        ops,
        ..Batch::default()
    }
}

async fn commit(store: &Arc<dyn Store>, batch: Batch) -> Committed {
    must(store.commit(batch).await, "a commit")
}

async fn value(store: &Arc<dyn Store>, key: &str, at: Option<Revision>) -> Option<String> {
    let key = Bytes::copy_from_slice(key.as_bytes());
    let entry = must(store.get(key, at).await, "a read")?;
    Some(String::from_utf8_lossy(&entry.value).into_owned())
}

fn check(holds: bool, what: &str) {
    if !holds {
        fail(what);
    }
}

async fn versions(subject: &mut dyn Subject) {
    let store = subject.open().await;
    check(
        store.revision() == Revision(0),
        "an empty store is at revision 0",
    );
    let one = commit(
        &store,
        ops(vec![put("a", "1", Expect::Any), put("b", "1", Expect::Any)]),
    )
    .await;
    check(
        one.versions == [Some(Version(256)), Some(Version(257))],
        "c * 256 + i",
    );
    let two = commit(
        &store,
        ops(vec![delete("x", Expect::Any), delete("a", Expect::Any)]),
    )
    .await;
    check(two.revision == Revision(2), "revisions follow each other");
    check(
        two.versions == [None, Some(Version(513))],
        "a deletion has a version of its own",
    );
    let nothing = commit(&store, ops(vec![delete("x", Expect::Any)])).await;
    check(
        nothing.revision == Revision(2),
        "what changes nothing takes no revision",
    );
    check(store.revision() == Revision(2), "the store agrees");
    check(value(&store, "a", None).await.is_none(), "deleted is gone");
    check(
        value(&store, "a", Some(Revision(1))).await.as_deref() == Some("1"),
        "but not from the past",
    );
    let log = must(store.log(Revision(1), 10).await, "the log");
    let change = &log.commits[0].changes[0];
    check(
        change
            .previous
            .as_ref()
            .is_some_and(|was| &was.value[..] == b"1"),
        "the log knows before",
    );
    check(
        change
            .previous
            .as_ref()
            .is_some_and(|was| was.version == Version(256)),
        "and its version",
    );
}

async fn preconditions(subject: &mut dyn Subject) {
    let store = subject.open().await;
    commit(&store, ops(vec![put("a", "1", Expect::Absent)])).await;
    let refused = |place, key: &str, current: Option<u64>| CommitError::Conflict {
        place,
        key: Bytes::copy_from_slice(key.as_bytes()),
        current: current.map(Version),
    };
    let cases = [
        (
            vec![],
            put("a", "2", Expect::Absent),
            refused(Place::Op(0), "a", Some(256)),
        ),
        (
            vec![],
            put("b", "2", Expect::Present),
            refused(Place::Op(0), "b", None),
        ),
        (
            vec![],
            delete("a", Expect::Version(Version(1))),
            refused(Place::Op(0), "a", Some(256)),
        ),
        (
            vec![("a", Expect::Present), ("b", Expect::Present)],
            put("c", "2", Expect::Any),
            refused(Place::Check(1), "b", None),
        ),
    ];
    for (checks, op, error) in cases {
        let checks = checks.into_iter().map(|(key, expect)| Check {
            key: key.into(),
            expect,
        });
        // The write before it must not be there either.
        let ops = vec![op, put("z", "2", Expect::Any)];
        let batch = Batch {
            lane: 1,
            checks: checks.collect(),
            ops,
        };
        check(
            store.commit(batch).await == Err(error.clone()),
            &format!("must be refused: {error:?}"),
        );
        check(
            value(&store, "z", None).await.is_none(),
            "nothing of a refused batch is there",
        );
    }
    check(
        store.revision() == Revision(1),
        "refusing takes no revision",
    );
    commit(
        &store,
        ops(vec![put("a", "2", Expect::Version(Version(256)))]),
    )
    .await;
    check(
        value(&store, "a", None).await.as_deref() == Some("2"),
        "the right version may write",
    );
}

/// Notes commits, and whether any came out of order.
#[derive(Default)]
struct Notes {
    seen: Mutex<Vec<Revision>>,
    attachments: Mutex<Vec<u32>>,
    disorder: AtomicBool,
}

impl Observer for Notes {
    fn committed(&self, commits: &[Commit]) {
        let mut seen = self.seen.lock();
        for commit in commits {
            if seen.last().is_some_and(|last| commit.revision <= *last) || commit.changes.is_empty()
            {
                self.disorder.store(true, Ordering::SeqCst);
            }
            seen.push(commit.revision);
            for change in &commit.changes {
                let number = change
                    .attachment
                    .as_ref()
                    .and_then(|any| any.downcast_ref::<u32>());
                self.attachments.lock().extend(number);
            }
        }
    }
}

async fn observers(subject: &mut dyn Subject) {
    let store = subject.open().await;
    commit(&store, ops(vec![put("before", "1", Expect::Any)])).await;
    let notes = Arc::new(Notes::default());
    check(
        store.attach(notes.clone()) == Revision(1),
        "attach answers where it begins",
    );
    for number in 0..20u32 {
        let op = Op {
            attachment: Some(Arc::new(number)),
            ..put("k", "1", Expect::Any)
        };
        let committed = commit(&store, ops(vec![op])).await;
        let last = notes.seen.lock().last().copied();
        check(
            last == Some(committed.revision),
            "told before the committer",
        );
        let refused = store.commit(ops(vec![put("k", "2", Expect::Absent)])).await;
        check(refused.is_err(), "absent it is not");
    }
    check(
        !notes.disorder.load(Ordering::SeqCst),
        "in order, and never empty",
    );
    check(
        notes.seen.lock().len() == 20,
        "once each, and no refused ones",
    );
    check(
        *notes.attachments.lock() == (0..20).collect::<Vec<u32>>(),
        "attachments arrive",
    );
    let log = must(store.log(Revision(1), 100).await, "the log");
    let mut changes = log.commits.iter().flat_map(|commit| &commit.changes);
    check(
        changes.all(|change| change.attachment.is_none()),
        "and are not stored",
    );
}

/// Writers that increment one counter each and one together, by compare and swap.
async fn many_writers(subject: &mut dyn Subject) {
    const WRITERS: u64 = 8;
    const ROUNDS: u64 = 25;
    let store = subject.open().await;
    let notes = Arc::new(Notes::default());
    store.attach(notes.clone());
    commit(&store, ops(vec![put("shared", "0", Expect::Any)])).await;
    let seams = hanse_seams::Seams::real();
    let mut tasks = Vec::new();
    for writer in 0..WRITERS {
        let store = store.clone();
        tasks.push(seams.spawn("writer", async move {
            for round in 0..ROUNDS {
                while !increment(&store, writer, round).await {}
            }
        }));
    }
    // A writer that panicked ends too; what it did not count is missed below.
    for task in tasks {
        task.ended().await;
    }
    let total = (WRITERS * ROUNDS).to_string();
    check(
        value(&store, "shared", None).await == Some(total),
        "no increment is lost",
    );
    for writer in 0..WRITERS {
        let own = value(&store, &format!("own/{writer}"), None).await;
        check(
            own == Some((ROUNDS - 1).to_string()),
            "a writer's own key stands at its last round",
        );
    }
    check(
        store.revision() == Revision(WRITERS * ROUNDS + 1),
        "one revision for each success",
    );
    check(!notes.disorder.load(Ordering::SeqCst), "told in order");
    check(
        notes.seen.lock().len() as u64 == WRITERS * ROUNDS + 1,
        "told of each",
    );
}

async fn increment(store: &Arc<dyn Store>, writer: u64, round: u64) -> bool {
    let shared = must(store.get("shared".into(), None).await, "a read");
    let Some(shared) = shared else {
        fail("the shared counter is gone")
    };
    let count: u64 = String::from_utf8_lossy(&shared.value)
        .parse()
        .unwrap_or(u64::MAX - 1);
    let next = put(
        "shared",
        &(count + 1).to_string(),
        Expect::Version(shared.version),
    );
    let own = put(&format!("own/{writer}"), &round.to_string(), Expect::Any);
    let batch = Batch {
        lane: writer,
        checks: Vec::new(),
        ops: vec![own, next],
    };
    match store.commit(batch).await {
        Ok(_) => true,
        Err(CommitError::Conflict {
            place: Place::Op(1),
            ..
        }) => false,
        Err(error) => fail(&format!("an increment failed: {error:?}")),
    }
}

async fn compaction(subject: &mut dyn Subject) {
    let store = subject.open().await;
    for number in 1..=10 {
        commit(
            &store,
            ops(vec![put("k", &number.to_string(), Expect::Any)]),
        )
        .await;
    }
    commit(&store, ops(vec![delete("k", Expect::Any)])).await;
    commit(&store, ops(vec![put("k", "new", Expect::Absent)])).await;
    must(store.compact(Revision(5)).await, "compaction");
    must(
        store.compact(Revision(3)).await,
        "a lower compaction, which changes nothing",
    );
    let floor = Revision(5);
    check(store.floor() == floor, "the floor is where it was put");
    let old = store.get("k".into(), Some(Revision(4))).await;
    check(
        old == Err(ReadError::Compacted { floor }),
        "below the floor nothing is read",
    );
    check(
        store.log(Revision(4), 1).await == Err(ReadError::Compacted { floor }),
        "nor logged",
    );
    check(
        value(&store, "k", Some(floor)).await.as_deref() == Some("5"),
        "at the floor it is",
    );
    check(
        value(&store, "k", Some(Revision(11))).await.is_none(),
        "a deletion stays one",
    );
    must(
        store.compact(Revision(99)).await,
        "compaction of all the past",
    );
    check(store.floor() == Revision(12), "never beyond the present");
    let store = subject.reopen(store).await;
    check(store.floor() == Revision(12), "the floor is remembered");
    check(
        value(&store, "k", None).await.as_deref() == Some("new"),
        "the present stays",
    );
    let log = must(store.log(Revision(12), 1).await, "the log at its end");
    check(log.commits.is_empty() && !log.more, "is empty");
    let future = store
        .range(Range {
            at: Some(Revision(13)),
            limit: 1,
            ..Range::default()
        })
        .await;
    check(
        future
            == Err(ReadError::Future {
                current: Revision(12),
            }),
        "the future is not there",
    );
}

async fn reopening(subject: &mut dyn Subject) {
    let mut store = subject.open().await;
    for round in 1..=5u64 {
        commit(&store, ops(vec![put("k", "1", Expect::Absent)])).await;
        let gone = commit(&store, ops(vec![delete("k", Expect::Present)])).await;
        check(
            gone.revision == Revision(round * 2),
            "numbers are not used again",
        );
        store = subject.reopen(store).await;
        check(
            store.revision() == gone.revision,
            "the revision is remembered over an empty present",
        );
    }
    let log = must(store.log(Revision(0), 100).await, "the log");
    check(log.commits.len() == 10, "and the whole log with it");
}

async fn odd_bytes(subject: &mut dyn Subject) {
    let store = subject.open().await;
    let large = Bytes::from(vec![0xa5; 3 << 20]);
    let keys: [&[u8]; 4] = [b"\0", b"\xff\xff", b"a\0b", b"a"];
    let op = |key: &[u8], value: Bytes| Op {
        key: Bytes::copy_from_slice(key),
        expect: Expect::Absent,
        put: Some(value),
        attachment: None,
    };
    let mut all: Vec<Op> = keys.iter().map(|key| op(key, Bytes::new())).collect();
    all.push(op(b"large", large.clone()));
    commit(&store, ops(all)).await;
    let store = subject.reopen(store).await;
    let page = must(
        store
            .range(Range {
                limit: 10,
                ..Range::default()
            })
            .await,
        "a range",
    );
    let found: Vec<&[u8]> = page.entries.iter().map(|entry| &entry.key[..]).collect();
    check(
        found == [&b"\0"[..], b"a", b"a\0b", b"large", b"\xff\xff"],
        "in the order of bytes",
    );
    check(page.entries[3].value == large, "three MiB come back whole");
    check(
        page.entries[0].value.is_empty(),
        "an empty value is a value",
    );
}

pub(super) async fn limits<S: Subject>(make: &impl Fn(Limits) -> S) {
    let mut subject = make(Limits {
        max_keys: 2,
        max_bytes: 1000,
    });
    let store = subject.open().await;
    check(
        store.limits().max_keys == 2,
        "the engine states the limits it was made with",
    );
    let three = ["a", "b", "c"]
        .map(|key| put(key, "", Expect::Any))
        .to_vec();
    let refused = store.commit(ops(three)).await;
    check(
        refused == Err(CommitError::TooManyKeys { keys: 3, max: 2 }),
        "too many keys",
    );
    let large = put("a", &"x".repeat(1000), Expect::Any);
    let refused = store.commit(ops(vec![large])).await;
    check(
        refused
            == Err(CommitError::TooLarge {
                bytes: 1001,
                max: 1000,
            }),
        "too many bytes",
    );
    let twice = vec![put("a", "1", Expect::Any), put("a", "2", Expect::Any)];
    let empty = vec![put("", "1", Expect::Any)];
    for batch in [twice, empty, Vec::new()] {
        let refused = store.commit(ops(batch)).await;
        check(
            matches!(refused, Err(CommitError::Invalid(_))),
            "no batch at all",
        );
    }
    let mut roomy = make(Limits::default());
    let store = roomy.open().await;
    let long = put(&"k".repeat(MAX_KEY_BYTES + 1), "1", Expect::Any);
    let refused = store.commit(ops(vec![long])).await;
    check(
        matches!(refused, Err(CommitError::Invalid(_))),
        "a key too long",
    );
    let check_one = Check {
        key: "a".into(),
        expect: Expect::Any,
    };
    let batch = Batch {
        checks: vec![check_one; MAX_CHECKS + 1],
        ops: vec![put("a", "1", Expect::Any)],
        ..Batch::default()
    };
    check(store.commit(batch).await.is_err(), "too many checks");
    let most = store.limits().max_keys;
    let all = (0..most)
        .map(|n| put(&format!("{n}"), "", Expect::Any))
        .collect();
    let committed = commit(&store, ops(all)).await;
    check(
        committed.versions.last() == Some(&Some(Version(255 + most as u64))),
        "all keys at once",
    );
}
