//! `watch`: what is there, and then what happens, line by line.
//!
//! Start at [`watch`]; [`Stream::run`] is the life of one watch. Events come from the hub already
//! selected and in order; this file turns them into frames, adds bookmarks and ends the stream
//! when its time has come. The invariant: once the options were read, every failure is an ERROR
//! event of a stream with status 200, never an HTTP error (WAT-20); and nothing is sent that a
//! GET would not show yet.

use std::time::Duration;

use bytes::Bytes;
use hanse_cache::{From, ListPage, ListQuery, Object, ReadError, WatchEvent, Watcher};
use hanse_tenancy::catalog::Lookup;
use hanse_wire::negotiate::{Form, Forms, MetaVersion};
use hanse_wire::options::{ListOptions, parse_version, unparsable_version};
use hanse_wire::status::{Result, Status};
use hanse_wire::watch::{self as frames, EventType};
use prometheus_client::metrics::counter::Counter;

use crate::answer::{Answer, JSON};
use crate::body::{Body, Emitter};
use crate::call::{Call, Target};
use crate::limits::{BOOKMARK_BEFORE_END, BOOKMARK_PERIOD, WATCH_FRAME_BYTES, WATCH_TIME_MIN};
use crate::metrics::{GaugeGuard, RequestLabels};
use crate::render::{Renderer, whole_object};
use crate::service::Service;
use crate::verbs::list::wait_for;
use crate::verbs::select::Selection;

/// Answers a watch.
///
/// # Errors
/// 400 and 422 for bad options, 406.
pub fn watch(
    service: &Service,
    call: &Call<'_>,
    target: &Target,
    labels: &RequestLabels,
) -> Result<Answer> {
    let options = ListOptions::from_query(&call.query)?;
    let output = call.output(Forms::RESOURCE)?;
    let options = ListOptions {
        watch: true,
        ..options
    };
    options.validate()?;
    let version =
        parse_version(&options.resource_version).map_err(|why| unparsable_version(&why, true))?;
    let selection = Selection::of(call, target, &options)?;
    let def = &target.def;
    let stream = Stream {
        renderer: service.renderer(call, target, output)?,
        begin: Begin::of(version, &options, service.hub.version()),
        bookmarks: options.allow_watch_bookmarks,
        life: service.watch_life(options.timeout_seconds),
        target: target.clone(),
        selection,
        in_view: call.lens.is_some(),
        sent: service
            .metrics()
            .watch_events(&def.group, &def.version, &def.plural),
        _open: service.metrics().longrunning(labels),
        service: service.clone(),
        columns_sent: false,
    };
    let body = Body::generate(|out| stream.run(out));
    Ok(Answer::with_body(200, JSON, body))
}

/// What ends a frame after its object.
const FRAME_TAIL: &[u8] = b"}\n";

/// Constants of the hash FNV-1a.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
/// See [`FNV_OFFSET`].
const FNV_PRIME: u64 = 0x0100_0000_01b3;

/// Where a watch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begin {
    /// After this version.
    After(u64),
    /// With everything that is there, at least as new as the version; and whether the client
    /// wants to be told where that ends.
    Everything { not_older_than: u64, marked: bool },
}

impl Begin {
    /// `now` is the present version: a watch from now on begins with the answer's headers, not
    /// when the connection first asks for its body.
    fn of(version: Option<u64>, options: &ListOptions, now: u64) -> Self {
        let version = version.unwrap_or(0);
        match options.send_initial_events {
            Some(true) => Self::Everything {
                not_older_than: version,
                marked: true,
            },
            None if version == 0 => Self::Everything {
                not_older_than: 0,
                marked: false,
            },
            Some(false) if version == 0 => Self::After(now),
            _ => Self::After(version),
        }
    }
}

/// One open watch.
struct Stream {
    service: Service,
    target: Target,
    selection: Selection,
    in_view: bool,
    renderer: Renderer,
    begin: Begin,
    bookmarks: bool,
    life: Duration,
    columns_sent: bool,
    sent: Counter,
    _open: GaugeGuard,
}

/// What a watch waits for.
enum Next {
    Event(WatchEvent),
    Failed(ReadError),
    Timer,
    Stop,
}

impl Stream {
    /// The whole life of the watch.
    async fn run(mut self, out: Emitter) {
        let clock = self.service.seams.clock.clone();
        let end = clock.monotonic() + self.life;
        // The headers go out with the first poll of the body; an empty first frame would end
        // nothing, but there is no need for one either: hyper sends headers on their own.
        let mut watcher = match self.start(&out).await {
            Ok(watcher) => watcher,
            Err(status) => return out.emit(frames::error_frame(&status).into()).await,
        };
        // From here on a change of what is served cuts the watch; one of a moment ago did not.
        if !self.is_served() {
            return;
        }
        let mut bookmark_at = self.next_bookmark(clock.monotonic(), end);
        loop {
            let wake_at = bookmark_at.map_or(end, |at| at.min(end));
            let sleep = clock.sleep(wake_at.saturating_sub(clock.monotonic()));
            tokio::pin!(sleep);
            let timer = loop {
                let next = tokio::select! {
                    biased;
                    () = self.service.ended_watches() => Next::Stop,
                    next = watcher.next() => next.map_or_else(Next::Failed, Next::Event),
                    () = &mut sleep => Next::Timer,
                };
                match next {
                    Next::Event(event) => self.send(event, &mut watcher, &out).await,
                    other => break other,
                }
            };
            match timer {
                Next::Timer if clock.monotonic() < end => {
                    let version = watcher.bookmark();
                    out.emit(self.bookmark(version, false)).await;
                    bookmark_at = self.next_bookmark(clock.monotonic(), end);
                }
                Next::Failed(ReadError::Cut) | Next::Timer | Next::Stop | Next::Event(_) => return,
                Next::Failed(error) => {
                    let status = watch_error(&error);
                    return out.emit(frames::error_frame(&status).into()).await;
                }
            }
        }
    }

    /// Whether the logical cluster still serves what is watched, as it did when it was asked for.
    fn is_served(&self) -> bool {
        let Some(cluster) = self.selection.scope.cluster().filter(|_| !self.in_view) else {
            return true;
        };
        let def = &self.target.def;
        let surface = self.service.catalog.surface(cluster);
        match surface.find(&def.group, &def.version, &def.plural) {
            Lookup::Found(now) => now.storage == def.storage && now.schema.hash == def.schema.hash,
            Lookup::NotFound | Lookup::Unavailable => false,
        }
    }

    /// When the next bookmark is due: a minute on, or shortly before the end.
    fn next_bookmark(&self, now: Duration, end: Duration) -> Option<Duration> {
        let last = end.saturating_sub(BOOKMARK_BEFORE_END);
        (self.bookmarks && now < last).then(|| (now + BOOKMARK_PERIOD).min(last))
    }

    /// Sends what is there, where that is wanted, and opens the watcher behind it.
    async fn start(&mut self, out: &Emitter) -> Result<Watcher> {
        let hub = self.service.hub.clone();
        let from = match self.begin {
            Begin::After(version) => From::Version(version),
            Begin::Everything { not_older_than, .. } => {
                wait_for(&self.service, not_older_than).await?;
                let page = self.everything().await?;
                let version = page.version;
                self.send_initial(page.objects, out).await;
                From::Version(version)
            }
        };
        let (resource, filter) = (&self.target.resource, self.selection.filter.clone());
        let watcher = hub.watch(resource, &self.selection.scope, from, filter);
        if let Begin::Everything { marked: true, .. } = self.begin
            && self.bookmarks
            && let From::Version(version) = from
        {
            out.emit(self.bookmark(version, true)).await;
        }
        Ok(watcher)
    }

    async fn everything(&self) -> Result<ListPage> {
        let query = ListQuery {
            filter: self.selection.filter.clone(),
            ..ListQuery::default()
        };
        let (resource, scope) = (&self.target.resource, &self.selection.scope);
        let page = self.service.hub.list_in_slices(resource, scope, &query);
        page.await.map_err(|error| watch_error(&error))
    }

    async fn send_initial(&mut self, objects: Vec<Object>, out: &Emitter) {
        let mut frame = Vec::new();
        for object in objects {
            self.sent.inc();
            if self.renderer.goes_in_pieces(&object) {
                // No watcher has a copy of its own of what is large.
                frames::write_frame(&mut frame, EventType::Added, |_| {});
                frame.truncate(frame.len() - FRAME_TAIL.len());
                for piece in whole_object(&object) {
                    frame.extend_from_slice(&piece);
                    out.emit(std::mem::take(&mut frame).into()).await;
                }
                frame.extend_from_slice(FRAME_TAIL);
                continue;
            }
            self.write_event(EventType::Added, &object, &mut frame);
            if frame.len() >= WATCH_FRAME_BYTES {
                out.emit(std::mem::take(&mut frame).into()).await;
            }
        }
        if !frame.is_empty() {
            out.emit(frame.into()).await;
        }
    }

    /// Sends an event, and with it those that are already waiting behind it.
    async fn send(&mut self, first: WatchEvent, watcher: &mut Watcher, out: &Emitter) {
        let bytes = self.encode(&first);
        self.sent.inc();
        if bytes.len() >= WATCH_FRAME_BYTES / 4 {
            // What is large is not copied: all that watch it share the bytes.
            return out.emit(bytes).await;
        }
        let Ok(Some(second)) = watcher.try_next() else {
            return out.emit(bytes).await;
        };
        let mut frame = bytes.to_vec();
        let mut waiting = Some(second);
        while let Some(event) = waiting.take() {
            let bytes = self.encode(&event);
            self.sent.inc();
            if bytes.len() >= WATCH_FRAME_BYTES / 4 {
                out.emit(std::mem::take(&mut frame).into()).await;
                return out.emit(bytes).await;
            }
            frame.extend_from_slice(&bytes);
            if frame.len() < WATCH_FRAME_BYTES {
                // A failure stays where it is: the next wait for an event meets it again.
                waiting = watcher.try_next().ok().flatten();
            }
        }
        out.emit(frame.into()).await;
    }

    /// The frame of an event, shared with every other watch that wants the same bytes.
    fn encode(&mut self, event: &WatchEvent) -> Bytes {
        use hanse_cache::WatchKind::{Added, Deleted, Modified};
        let kind = match event.kind {
            Added => EventType::Added,
            Modified => EventType::Modified,
            Deleted => EventType::Deleted,
        };
        let Some(encoding) = self.encoding() else {
            let mut frame = Vec::new();
            self.write_event(kind, &event.object, &mut frame);
            return frame.into();
        };
        event.encoded(encoding, |event| {
            let mut frame = Vec::with_capacity(event.object.json_len() + 96);
            frames::write_frame(&mut frame, kind, |out| {
                self.renderer.form_into(&event.object, false, out);
            });
            frame.into()
        })
    }

    /// A number for everything that a frame depends on beside its event. Tables depend on the time
    /// and on what was sent before, so they have none.
    fn encoding(&self) -> Option<u64> {
        let form = match self.renderer.output.form {
            Form::Object | Form::AggregatedDiscovery => 0,
            Form::PartialMetadata(MetaVersion::V1) => 1,
            Form::PartialMetadata(MetaVersion::V1Beta1) => 2,
            Form::PartialMetadataList(_) | Form::Table(_) => return None,
        };
        let def = &self.renderer.def;
        let mut schema = [0; 8];
        schema.copy_from_slice(&def.schema.hash[..8]);
        // Versions of a kind may have one schema; their frames differ in `apiVersion` all the same.
        let version = def.version.bytes().fold(FNV_OFFSET, |number, byte| {
            (number ^ u64::from(byte)).wrapping_mul(FNV_PRIME)
        });
        Some((u64::from_le_bytes(schema) ^ version).rotate_left(2) ^ form)
    }

    fn write_event(&mut self, kind: EventType, object: &Object, frame: &mut Vec<u8>) {
        let with_columns = !std::mem::replace(&mut self.columns_sent, true);
        frames::write_frame(frame, kind, |out| {
            self.renderer.form_into(object, with_columns, out)
        });
    }

    fn bookmark(&mut self, version: u64, initial_events_end: bool) -> Bytes {
        let def = &self.renderer.def;
        match self.renderer.output.form {
            Form::Table(meta) => {
                let object = frames::bookmark_object(
                    meta.api_version(),
                    "PartialObjectMetadata",
                    version,
                    initial_events_end,
                );
                let table = hanse_wire::table::bookmark(meta, &object);
                frames::frame(EventType::Bookmark, &hanse_json::to_vec(&table)).into()
            }
            Form::PartialMetadata(meta) | Form::PartialMetadataList(meta) => frames::bookmark(
                meta.api_version(),
                "PartialObjectMetadata",
                version,
                initial_events_end,
            )
            .into(),
            _ => {
                let api_version = def.api_version();
                frames::bookmark(&api_version, &def.kind, version, initial_events_end).into()
            }
        }
    }
}

/// The Status of an ERROR event.
fn watch_error(error: &ReadError) -> Box<Status> {
    match error {
        ReadError::TooOld { .. } => Status::expired(error.to_string()),
        other => crate::verbs::list::read_error(other.clone()),
    }
}

/// How long a watch goes on: as long as the client says, or for a while that differs from watch to
/// watch, so that they do not all end at once.
#[must_use]
pub fn life(timeout_seconds: Option<i64>, random: impl FnOnce(u64) -> u64) -> Duration {
    match timeout_seconds {
        // A time that has passed already ends it at once.
        Some(seconds) if seconds < 0 => Duration::ZERO,
        Some(seconds) if seconds > 0 => Duration::from_secs(seconds.unsigned_abs()),
        _ => WATCH_TIME_MIN + Duration::from_secs(random(WATCH_TIME_MIN.as_secs())),
    }
}
