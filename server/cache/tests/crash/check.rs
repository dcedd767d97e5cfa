//! The parent's memory of all lives, and what it demands of the store after each.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hanse_cache::{Filter, From, Hub, ListQuery, Object, Scope, WatchEvent};
use hanse_seams::Seams;
use hanse_store_redb::RedbStore;

use crate::child::{self, WRITERS};

/// How long a watch that reads the log may take to tell its next event, if it has one.
const PATIENCE: Duration = Duration::from_millis(200);

/// What a watcher has told so far, over all lives.
#[derive(Default)]
struct Seen {
    version: u64,
    objects: BTreeMap<String, u64>,
    events: u64,
}

impl Seen {
    /// An event must be newer than all before it and fit to what was seen.
    fn event(&mut self, version: u64, kind: &str, name: &str, number: u64) -> Result<(), String> {
        if version <= self.version {
            return Err(format!(
                "an event came twice or late: {version} after {}",
                self.version
            ));
        }
        self.version = version;
        self.events += 1;
        let before = match kind {
            "DELETED" => self.objects.remove(name),
            _ => self.objects.insert(name.to_owned(), number),
        };
        if before.is_some() != (kind != "ADDED") {
            return Err(format!(
                "{kind} of {name}, which was {before:?}: an event is missing"
            ));
        }
        // A ledger counts every transaction of its writer, so a gap shows in it.
        if name.starts_with("ledger")
            && kind == "MODIFIED"
            && before.is_none_or(|n| n + 1 != number)
        {
            return Err(format!(
                "{name} went from {before:?} to {number}: an event is missing"
            ));
        }
        Ok(())
    }
}

/// See the module's own words.
#[derive(Default)]
pub struct Check {
    /// For each writer the last acknowledged number and its version.
    acknowledged: [Option<(u64, u64)>; WRITERS],
    everything: Seen,
    even: SeenEven,
    commits: u64,
    slowest: Duration,
    unacknowledged: u64,
}

/// As [`Seen`]; ledgers come and go here, so they tell no gaps.
#[derive(Default)]
struct SeenEven(Seen);

impl Check {
    /// Where the child's watchers go on.
    pub fn resume(&self) -> String {
        format!("{},{}", self.everything.version, self.even.0.version)
    }

    pub fn summary(&self) -> String {
        format!(
            "{} acknowledged commits, {} found though not acknowledged, {} events, \
             slowest opening {} ms",
            self.commits,
            self.unacknowledged,
            self.everything.events + self.even.0.events,
            self.slowest.as_millis()
        )
    }

    /// Whether enough happened in so many rounds for the proof to mean anything.
    pub fn is_convincing(&self, rounds: u64) -> bool {
        self.commits > rounds
            && self.everything.events > self.commits
            && self.even.0.events > rounds
    }

    /// Takes in a line of the child.
    pub fn line(&mut self, line: &str) -> Result<(), String> {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |place: usize| -> Result<u64, String> {
            let word = words.get(place).ok_or("a word is missing")?;
            word.parse().map_err(|_| format!("{word} is no number"))
        };
        match words.first() {
            Some(&"acknowledged") => {
                let writer = usize::try_from(number(1)?).map_err(|error| error.to_string())?;
                let slot = self
                    .acknowledged
                    .get_mut(writer)
                    .ok_or("an unknown writer")?;
                *slot = Some((number(2)?, number(3)?));
                self.commits += 1;
                Ok(())
            }
            Some(&"event") => self.event(number(1)?, number(2)?, words[3], words[4], number(5)?),
            _ => Err("an unexpected line".into()),
        }
    }

    fn event(
        &mut self,
        watcher: u64,
        version: u64,
        kind: &str,
        name: &str,
        number: u64,
    ) -> Result<(), String> {
        match watcher {
            0 => self.everything.event(version, kind, name, number),
            _ => self.even.0.event(version, kind, name, number),
        }
    }

    /// Opens what the killed child left, and compares it with everything that was told. Where
    /// `watches` is false the watchers stay behind, to resume further back another time.
    pub async fn reopen(
        &mut self,
        directory: &Path,
        seams: &Seams,
        watches: bool,
    ) -> Result<(), String> {
        let began = seams.clock.monotonic();
        let store = RedbStore::open(&child::config(directory), seams);
        let store = Arc::new(store.map_err(|error| format!("the store does not open: {error}"))?);
        let hub = Hub::open(store.clone(), child::memory()).await;
        let hub = hub.map_err(|error| format!("the hub does not open: {error}"))?;
        self.slowest = self.slowest.max(seams.clock.monotonic() - began);
        let list = hub.list(&child::resource(), &Scope::Wildcard, &ListQuery::default());
        let list = list.map_err(|error| error.to_string())?.objects;
        for writer in 0..WRITERS {
            self.check_writer(writer, &hub, &list)?;
        }
        if list.iter().any(|object| &*object.key().name == "poison") {
            return Err("a refused transaction left something".into());
        }
        if watches {
            self.check_watches(&hub, &list).await?;
        }
        drop(hub);
        store.close().await;
        Ok(())
    }

    fn check_writer(&mut self, writer: usize, hub: &Hub, list: &[Object]) -> Result<(), String> {
        let ledger = hub.get(&child::ledger_key(writer));
        let found = ledger.as_ref().map_or(0, child::number);
        let (acknowledged, version) = self.acknowledged[writer].unwrap_or((0, 0));
        // A writer has one transaction on its way at a time.
        if found < acknowledged || found > acknowledged + 1 {
            return Err(format!(
                "writer {writer} was told {acknowledged}, the store has {found}"
            ));
        }
        let stands = ledger
            .as_ref()
            .map_or(0, |ledger| ledger.resource_version() | 255);
        if found == acknowledged && stands != version {
            return Err(format!(
                "writer {writer}: acknowledged at {version}, stands at {stands}"
            ));
        }
        if found > acknowledged {
            self.unacknowledged += 1;
            self.acknowledged[writer] = Some((found, stands));
        }
        let prefix = format!("thing{writer}-");
        let own = list
            .iter()
            .filter(|object| object.key().name.starts_with(&prefix));
        let own: BTreeMap<String, u64> = own
            .map(|object| (object.key().name.to_string(), child::number(object)))
            .collect();
        let wanted = ledger.as_ref().map(child::entries).unwrap_or_default();
        if own != wanted {
            return Err(format!(
                "writer {writer}: a transaction is half there: {own:?}, {wanted:?}"
            ));
        }
        Ok(())
    }

    async fn check_watches(&mut self, hub: &Hub, list: &[Object]) -> Result<(), String> {
        let filters: [Option<Filter>; 2] = [None, Some(child::even())];
        for (seen, filter) in [&mut self.everything, &mut self.even.0]
            .into_iter()
            .zip(filters)
        {
            let from = From::Version(seen.version);
            let mut watch = hub.watch(&child::resource(), &Scope::Wildcard, from, filter.clone());
            let end = hub.version();
            loop {
                let next = match watch.try_next().map_err(|error| error.to_string())? {
                    Some(event) => event,
                    None if watch.bookmark() >= end => break,
                    // Below memory: the store's log is read, where nothing may be selected.
                    None => match tokio::time::timeout(PATIENCE, watch.next()).await {
                        Ok(event) => event.map_err(|error| error.to_string())?,
                        Err(_) => continue,
                    },
                };
                let WatchEvent {
                    kind,
                    object,
                    event,
                } = next;
                let number = child::number(&object);
                seen.event(event.version(), kind.as_str(), &object.key().name, number)?;
            }
            let selected = list
                .iter()
                .filter(|object| filter.as_ref().is_none_or(|f| f(object)));
            let selected: BTreeMap<String, u64> = selected
                .map(|object| (object.key().name.to_string(), child::number(object)))
                .collect();
            if seen.objects != selected {
                return Err(format!(
                    "a watch ends at {:?}, the list has {selected:?}",
                    seen.objects
                ));
            }
        }
        Ok(())
    }
}
