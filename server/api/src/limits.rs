//! Every bound of this crate, in one place: what a client can make this room do at most.

use std::time::Duration;

/// Bytes of a request body; more is answered with 413.
pub const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;
/// Bytes of one segment of a workspace path.
pub const CLUSTER_SEGMENT_BYTES_MAX: usize = 63;
/// Segments of a workspace path.
pub const CLUSTER_SEGMENTS_MAX: usize = 32;
/// Operations of a JSON patch; more is answered with 413.
pub const JSON_PATCH_OPERATIONS_MAX: usize = 10_000;
/// How often a write that lost a race is tried again on the server: writes without a
/// resourceVersion of the client's own.
pub const WRITE_ATTEMPTS_MAX: usize = 6;
/// Attempts at a free name for `generateName`.
pub const GENERATE_NAME_ATTEMPTS_MAX: usize = 8;
/// Letters that `generateName` appends.
pub const GENERATE_NAME_SUFFIX_BYTES: usize = 5;
/// Bytes of a generated name's base.
pub const GENERATE_NAME_BASE_BYTES_MAX: usize = 63 - GENERATE_NAME_SUFFIX_BYTES;
/// Bodies at least this long are compressed for clients that accept gzip.
pub const GZIP_BYTES_MIN: usize = 128 * 1024;
/// Bytes of one piece of a streamed list.
pub const LIST_PIECE_BYTES: usize = 32 * 1024;
/// Objects that one look into the hub fetches while a list is selected.
pub const LIST_SCAN_OBJECTS: usize = 500;
/// Objects deleted by one step of a collection's deletion.
pub const DELETE_COLLECTION_STEP_OBJECTS: usize = 500;
/// How long a read waits for a resourceVersion that has not been reached yet.
pub const FRESHNESS_WAIT: Duration = Duration::from_secs(3);
/// How long a read request may take.
pub const REQUEST_TIME_MAX: Duration = Duration::from_secs(60);
/// How long a write may take.
pub const WRITE_TIME_MAX: Duration = Duration::from_secs(34);
/// Shortest time after which a watch without `timeoutSeconds` is ended; it is ended at a random
/// time between once and twice this.
pub const WATCH_TIME_MIN: Duration = Duration::from_secs(1_800);
/// Time between two bookmarks of a watch.
pub const BOOKMARK_PERIOD: Duration = Duration::from_secs(60);
/// How long before its end a watch gets a last bookmark.
pub const BOOKMARK_BEFORE_END: Duration = Duration::from_secs(2);
/// Bytes of events put together into one frame while more of them are waiting.
pub const WATCH_FRAME_BYTES: usize = 32 * 1024;
/// Discovery and OpenAPI documents kept, by content; the oldest goes first.
pub const DOCUMENTS_MAX: usize = 1_024;
/// Bytes of all these documents together.
pub const DOCUMENTS_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of a user agent used as a field manager's name.
pub const MANAGER_BYTES_MAX: usize = 128;

/// Series of the request counter that name a kind; later ones do without.
pub const REQUEST_SERIES_MAX: usize = 400;
/// Audit events that wait for the disk, ...
pub const AUDIT_QUEUE_LINES_MAX: usize = 16_384;
/// ... and their bytes; more events are lost, and counted.
pub const AUDIT_QUEUE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes of a body in an audit event; of a larger one only `audit.k8s.io/truncated` tells.
pub const AUDIT_OBJECT_BYTES_MAX: usize = 1024 * 1024;
/// Requests that compute at once, for each thread that drives them.
pub const FLOW_SEATS_EACH_THREAD: usize = 2;
/// Bytes of a body, or of what is read and encoded anew, from which on a request is long work.
pub const LONG_WORK_BYTES: usize = 32 * 1024;
/// Requests that wait or are being answered; `--max-requests-inflight` changes it. More are
/// answered with 429.
pub const FLOW_REQUESTS_MAX: usize = 4_096;
/// The part of these that one logical cluster or one user may have: one in so many.
pub const FLOW_SHARE: usize = 4;
/// How long a request waits for its turn before it is answered with 429.
pub const FLOW_WAIT_MAX: Duration = Duration::from_secs(15);
/// Meters of flows that are kept before those that are of no use any more are dropped.
pub const FLOW_METERS_KEPT: usize = 4_096;
/// Logical clusters whose cost is counted; those that were quiet longest are dropped.
pub const TENANTS_COUNTED: usize = 16_384;
/// Workspaces in one answer that tells the costs of many.
pub const TENANTS_PAGE: usize = 100;
/// Bytes of request bodies in memory, of all requests together; more are answered with 429.
/// Under a memory limit an eighth of it, if that is less.
pub const BODIES_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes that the trees of all requests that are worked on are thought to take; a quarter of the
/// memory limit, if that is less. A request that needs more than all of it is answered with 413.
pub const WORK_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// Bytes of answers that are not sent yet, streams aside; an eighth of the memory limit, if that is
/// less. More are answered with 429.
pub const ANSWERS_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Bytes of an answer from which on it counts there.
pub const ANSWER_BYTES_HELD: usize = 32 * 1024;
/// Watches that are open at once, and as many other answers that are sent piece by piece; more are
/// answered with 429. Under a memory limit each have an eighth of it, if that is less.
pub const WATCHES_MAX: usize = 200_000;
/// Bytes that a watch takes whose client does not read: a frame and what is queued to be sent.
pub const WATCH_MEMORY_BYTES: usize = 96 * 1024;
/// Percent of the memory limit beyond which writes and new watches are answered with 429, ...
pub const MEMORY_SHORT_PERCENT: u64 = 65;
/// ... and beyond which all is that does not delete, and no connection is accepted.
pub const MEMORY_SPENT_PERCENT: u64 = 78;
/// Between two looks at the memory of the process.
pub const MEMORY_LOOK_PERIOD: Duration = Duration::from_millis(10);
/// Unknown and repeated fields that one answer names.
pub const STRICT_ERRORS_MAX: usize = 100;
