//! The one service: from an HTTP request to its answer, without a socket.
//!
//! Start at [`Service::handle`]; the steps of a request stand in [`Service::answer`] in the order
//! in which they happen, and the order is the documentation: route, authenticate, impersonate,
//! authorize, answer. The invariant: nothing of an object is read for a caller before the
//! authorizer said yes, so a refusal never tells whether something exists (AUZ-05).

use std::net::SocketAddr;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hanse_admission::Admission;
use hanse_auth::{ACCESS_DENIED, Attributes, Authenticator, Authorizer, Resolution, UserInfo};
use hanse_cache::{ClusterName, Hub};
use hanse_kinds::ResourceDef;
use hanse_seams::{Seams, Shutdown};
use hanse_sites::Sites;
use hanse_tenancy::catalog::{Catalog, Lookup};
use hanse_tenancy::{HOME_NAME, Tenancy};
use hanse_wire::gvk::GroupResource;
use hanse_wire::negotiate::{Form, Output, error_output};
use hanse_wire::query::Query;
use hanse_wire::status::{Denied, Result, Status};
use hanse_wire::table::IncludeObject;
use hanse_wire::warning::Warnings;
use http::header::{self, HeaderName};
use http::request::Parts as Head;
use http::{Request, Response};
use parking_lot::Mutex;
use rustls_pki_types::CertificateDer;

use crate::answer::Answer;
use crate::audit;
use crate::body::{Body, RequestBody};
use crate::call::{Call, Target};
use crate::convert;
use crate::cost::{self, Costs};
use crate::documents::Documents;
use crate::endings::is_inactive;
use crate::health::Health;
use crate::info::{RequestInfo, Verb};
use crate::long::{self, LongWork};
use crate::metrics::{Figure, Metrics, ProcessFigures};
use crate::path::{ClusterRef, Route, RouteError, route, workspace_not_found};
use crate::render::{Renderer, answer_document};
use crate::trace::Trace;
use crate::traffic::{self, Traffic};
use crate::verbs::watch::life;
use crate::views::{Door, Entered};
use crate::{duration, memory, openapi, operator, paths, tenants, verbs, views};

/// What a connection says about its requests.
#[derive(Debug)]
pub struct ConnInfo {
    peer: Option<SocketAddr>,
    certs: Option<Vec<CertificateDer<'static>>>,
}

impl ConnInfo {
    /// A connection from `peer`, with the unverified chain that the client showed.
    #[must_use]
    pub fn new(peer: SocketAddr, certs: Option<Vec<CertificateDer<'static>>>) -> Self {
        Self {
            peer: Some(peer),
            certs,
        }
    }

    /// No connection at all: a call from within the process.
    #[must_use]
    pub fn internal() -> Self {
        Self {
            peer: None,
            certs: None,
        }
    }

    /// The other end's address.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }
}

/// Everything that the service is put together from.
pub struct Parts {
    /// Clock, chance, spawning.
    pub seams: Seams,
    /// The objects.
    pub hub: Hub,
    /// What is served where.
    pub catalog: Arc<Catalog>,
    /// Who asks.
    pub authenticator: Arc<Authenticator>,
    /// And may they.
    pub authorizer: Arc<Authorizer>,
    /// May the object be so.
    pub admission: Arc<Admission>,
    /// How workspaces are born.
    pub tenancy: Arc<Tenancy>,
    /// What became of placed objects; none where nothing is placed.
    pub sites: Option<Arc<Sites>>,
    /// Health checks.
    pub health: Arc<Health>,
    /// Counters.
    pub metrics: Metrics,
    /// The audit log, if there is one.
    pub audit: Option<audit::Log>,
    /// `host:port` by which clients reach this server.
    pub external_address: String,
    /// Figures of the process, asked at each look at `/metrics`.
    pub process: fn() -> ProcessFigures,
    /// How much may be going on at once.
    pub traffic: traffic::Config,
}

/// The service; cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

type MoreFigures = Box<dyn Fn() -> Vec<Figure> + Send>;

/// What the verbs see of the service.
pub struct Inner {
    parts: Parts,
    pub(crate) traffic: Traffic,
    pub(crate) documents: Documents,
    pub(crate) costs: Costs,
    stopping: Shutdown,
    watches_end: Shutdown,
    /// Figures of other rooms for the metrics.
    more_figures: Mutex<Vec<MoreFigures>>,
}

impl Deref for Service {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Deref for Inner {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

impl Inner {
    /// The wall clock in microseconds since 1970.
    #[must_use]
    pub fn now_micros(&self) -> i64 {
        i64::try_from(self.seams.clock.wall().as_micros()).unwrap_or(i64::MAX)
    }

    /// The time in seconds since 1970, as HTTP's dates have it.
    pub fn now_seconds(&self) -> i64 {
        self.now_micros() / 1_000_000
    }

    /// How objects of a target are written in an answer.
    ///
    /// # Errors
    /// 400 for a bad `includeObject`, 500 for versions that only a webhook could make.
    pub fn renderer(&self, call: &Call<'_>, target: &Target, output: Output) -> Result<Renderer> {
        convert::check(&target.def)?;
        let shown = match (output.form, &self.sites) {
            (Form::Table(_), Some(sites)) => sites.shown(&target.resource, call.cluster.as_ref()),
            _ => None,
        };
        Ok(Renderer {
            def: Arc::clone(&target.def),
            shown,
            output,
            bare_items: target.def.flags.bare_items && call.lens.is_none(),
            include: IncludeObject::parse(call.query.get("includeObject"))?,
            now: self.now_micros(),
        })
    }

    /// Measures how long the store takes for a write.
    pub async fn timed<T>(&self, operation: &'static str, write: impl Future<Output = T>) -> T {
        let began = self.seams.clock.monotonic();
        let written = write.await;
        let took = self.seams.clock.monotonic().saturating_sub(began);
        self.metrics.commit(operation, took);
        written
    }

    /// Figures that other rooms have added.
    pub fn more_figures(&self) -> Vec<Figure> {
        let all = self.more_figures.lock();
        all.iter().flat_map(|figures| figures()).collect()
    }

    /// How long a watch lives.
    #[must_use]
    pub fn watch_life(&self, timeout_seconds: Option<i64>) -> Duration {
        life(timeout_seconds, |bound| self.seams.rng.below(bound))
    }

    /// Asks whether the caller of a write may also create what is missing (AUZ-04).
    ///
    /// # Errors
    /// 403.
    pub fn authorize_create(&self, call: &Call<'_>, target: &Target) -> Result<()> {
        let info = RequestInfo {
            verb: Verb::Create,
            ..call.info
        };
        debug_assert_eq!(info.resource, target.def.plural.as_str());
        self.authorize(&call.user, &info, "create", call.cluster.as_deref())
    }

    /// Asks the authorizer about a classified request.
    ///
    /// # Errors
    /// 403.
    pub(crate) fn authorize(
        &self,
        user: &UserInfo,
        info: &RequestInfo<'_>,
        verb: &str,
        cluster: Option<&str>,
    ) -> Result<()> {
        let want = Attributes {
            user,
            verb,
            group: info.group,
            version: info.version,
            resource: info.resource,
            subresource: info.subresource,
            namespace: info.namespace,
            name: info.name,
            path: info.path,
            is_resource: info.is_resource,
        };
        let decision = self.authorizer.authorize(&want, cluster);
        self.metrics.decision(decision.allowed);
        if decision.allowed {
            return Ok(());
        }
        Err(Status::denied(&Denied {
            user: &user.name,
            verb,
            group: info.group,
            resource: info.resource,
            subresource: info.subresource,
            namespace: info.namespace,
            name: info.name,
            path: info.path,
            reason: ACCESS_DENIED,
        }))
    }
}

impl Service {
    /// Puts a service together.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(Inner {
            traffic: Traffic::new(parts.traffic),
            costs: Costs::new(Arc::clone(&parts.seams.clock)),
            parts,
            documents: Documents::default(),
            stopping: Shutdown::new(),
            watches_end: Shutdown::new(),
            more_figures: Mutex::default(),
        }))
    }

    /// Lets another room add to the metrics what is asked for at each look at them.
    pub fn add_figures(&self, figures: impl Fn() -> Vec<Figure> + Send + 'static) {
        self.more_figures.lock().push(Box::new(figures));
    }

    /// Whether another connection may be taken.
    #[must_use]
    pub fn has_memory(&self) -> bool {
        self.traffic.memory.has_room(self.seams.clock.as_ref())
    }

    /// Counters.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.parts.metrics
    }

    /// From now on `/readyz` says no.
    pub fn say_stopping(&self) {
        self.0.stopping.trigger();
    }

    /// Raised once the server has said that it is going to stop.
    #[must_use]
    pub fn stopping(&self) -> Shutdown {
        self.0.stopping.clone()
    }

    /// Ends all watches, cleanly.
    pub fn end_watches(&self) {
        self.watches_end.trigger();
    }

    /// Resolves when all watches shall end.
    pub async fn ended_watches(&self) {
        self.watches_end.wait().await;
    }

    /// Answers one request. Never fails and never panics: what goes wrong is the answer.
    ///
    /// Boxed here, so that callers need not prove for every reference inside that it may move
    /// between threads.
    pub fn handle<'a>(
        &'a self,
        request: Request<RequestBody>,
        conn: &'a ConnInfo,
    ) -> Pin<Box<dyn Future<Output = Response<Body>> + Send + 'a>> {
        Box::pin(self.caught(request, conn))
    }

    async fn caught(&self, request: Request<RequestBody>, conn: &ConnInfo) -> Response<Body> {
        let (head, body) = request.into_parts();
        let mut trace = Trace::new(self, &head, conn);
        let warnings = Mutex::new(Warnings::default());
        let work = long::catch(self.bounded(&head, body, conn, &mut trace, &warnings));
        let (caught, cpu) = cost::timed(self.seams.clock.as_ref(), work).await;
        let mut answer = match caught {
            Some(answer) => answer,
            None => {
                tracing::error!(path = head.uri.path(), "a request made the server panic");
                trace.panicked = true;
                let text = "This request caused apiserver to panic. Look in the logs for details.";
                Answer::text(500, text)
            }
        };
        trace.audit(self, &head, conn, &mut answer);
        // Without an audit log it is compressed already, in its turn.
        let mut answer = long::compressed(&head, &LongWork::of(&head), answer).await;
        if head.method == http::Method::HEAD {
            answer.leave_body_out();
        }
        if trace.is_denied() {
            // The text of a refusal holds names that the caller chose.
            answer.forbid_sniffing();
        }
        trace.finish(self, &mut answer, cpu);
        let warnings = warnings.into_inner();
        answer.into_response(&warnings, &trace.audit_id, trace.is_private())
    }

    /// The answer within the time that the kind of request has.
    async fn bounded(
        &self,
        head: &Head,
        body: RequestBody,
        conn: &ConnInfo,
        trace: &mut Trace,
        warnings: &Mutex<Warnings>,
    ) -> Answer {
        let wanted = wanted(head);
        let query = Query::parse(head.uri.query().unwrap_or_default());
        let limit = match duration::time_limit(head, &query) {
            Ok(limit) => limit,
            Err(status) => return Answer::status(&status, false),
        };
        let steps = self.answer(head, body, query, conn, trace, warnings);
        let result = match self.seams.timeout(limit, steps).await {
            Some(result) => result,
            None => {
                let why = "request did not complete within the allotted timeout";
                Err(Status::timeout(why, 0))
            }
        };
        result.unwrap_or_else(|status| {
            let mut answer = Answer::status(&status, false);
            let output = error_output(&wanted);
            if output.pretty || output.encoding != hanse_wire::negotiate::Encoding::Json {
                answer.body = answer_document(status.code, &status.to_json(), &output).body;
                let content_type = http::HeaderValue::from_static(output.content_type());
                answer.headers.insert(header::CONTENT_TYPE, content_type);
            }
            answer
        })
    }

    /// The steps of a request, in their order.
    async fn answer(
        &self,
        head: &Head,
        body: RequestBody,
        query: Query,
        conn: &ConnInfo,
        trace: &mut Trace,
        warnings: &Mutex<Warnings>,
    ) -> Result<Answer> {
        let whole = decoded_path(head);
        let routed = match route(&whole) {
            Ok(routed) => routed,
            Err(RouteError::Bad(status)) => return Err(status),
            Err(RouteError::NoView) => {
                let user = self.authenticate(head, conn, trace)?;
                if let Some(path) = tenants::asked_for(&whole) {
                    let cluster = tenants::find(self, path);
                    let user = self.impersonate(head, user, cluster.as_deref(), trace)?;
                    return tenants::answer(self, head, &query, (path, cluster), &user);
                }
                return operator::answer(self, head, &whole, body, &user).await;
            }
        };
        if let Some(answer) = shard_level(&routed) {
            return Ok(answer);
        }
        let mut missing = None;
        let (cluster, mut wildcard) = match self.resolve(&routed) {
            Place::Nowhere => (None, false),
            Place::Everywhere => (None, true),
            Place::In(cluster) => (Some(cluster), false),
            Place::Missing(path) => {
                missing = Some(path);
                (Some(path.into()), false)
            }
            Place::Answer(answer) => return Ok(*answer),
        };
        trace.place(cluster.as_ref());
        if let Some(cluster) = &cluster {
            self.refuse_inactive(cluster, routed.path)?;
        }
        let watch = query.flag("watch").unwrap_or(false);
        let mut info = RequestInfo::parse(&head.method, routed.path, watch);
        let selected = name_in_selector(&info, &query);
        if let Some(name) = &selected {
            info.name = name;
        }
        trace.classify(&info, &head.method, &query);
        let user = self.authenticate(head, conn, trace)?;
        trace.receive(self, head, conn);
        let user = self.impersonate(head, user, cluster.as_deref(), trace)?;
        if let Some(path) = missing.filter(|path| self.may_miss(&user, path)) {
            return Err(workspace_not_found(path));
        }
        if matches!(routed.cluster, ClusterRef::None)
            && user.in_group("system:authenticated")
            && let Some(document) = openapi::by_hash(self, info.path, query.get("hash"))
        {
            return Ok(document);
        }
        let verb = info.authorization_verb(&head.method);
        let target = cluster.as_deref();
        let door = routed.view.map(|view| Door {
            view,
            target,
            info: &info,
            verb: &verb,
            user: &user,
        });
        let (user, view) = match door.map(|door| views::enter(self, &door)).transpose()? {
            None => (user, None),
            Some(Entered::As(user)) => (user, None),
            Some(Entered::Answer(answer)) => return Ok(answer),
            Some(Entered::Through {
                rows,
                lens,
                user,
                wildcard: everywhere,
            }) => {
                wildcard |= everywhere;
                (user, Some((rows, lens)))
            }
        };
        if view.is_none() && is_home(&info, cluster.as_ref()) {
            let home = self.tenancy.home(&user).await?;
            return Ok(answer_document(200, &home, &error_output(&wanted(head))));
        }
        if view.is_none() {
            let authorized = self.authorize(&user, &info, &verb, target);
            trace.authorized(authorized.is_ok());
            authorized?;
        }
        if selected.is_some() {
            info.name = "";
        }
        let (rows, lens) = view.unzip();
        let long = LongWork::of(head);
        let call = Call {
            info,
            query,
            headers: &head.headers,
            user,
            cluster,
            wildcard,
            lens,
            warnings,
            long: &long,
        };
        // Before the turn: a slow sender keeps nobody waiting but himself.
        let (bytes, _reserved) = self.traffic.read_body(body).await?;
        trace.keep_body(&bytes);
        let work = async |trace: &Trace| {
            let memory = &self.traffic.memory;
            let _working = memory.work.reserve(memory::weigh(&bytes))?;
            let answer = self
                .work(&call, head, rows.as_deref(), &bytes, trace)
                .await?;
            match self.audit {
                // It logs what is not compressed.
                Some(_) => Ok(answer),
                None => Ok(long::compressed(head, &long, answer).await),
            }
        };
        self.in_turn(&call, trace, work).await
    }

    /// Does the work of a call when it is its turn, and charges it.
    async fn in_turn(
        &self,
        call: &Call<'_>,
        trace: &Trace,
        work: impl AsyncFnOnce(&Trace) -> Result<Answer>,
    ) -> Result<Answer> {
        let cluster = call.cluster.as_deref();
        let enter = self
            .traffic
            .enter(&self.seams, &call.user, &call.info, cluster, &self.metrics);
        let Some(mut turn) = enter.await? else {
            return work(trace).await;
        };
        let (clock, long) = (&self.seams.clock, (call.long.flag(), self.traffic.long()));
        let mut answer = turn.run(clock.as_ref(), long, work(trace)).await?;
        answer.body.hold(&self.traffic.memory)?;
        let endless = answer.body.is_stream();
        answer.body.charge_to(turn.outgoing(endless, clock));
        Ok(answer)
    }

    /// The part of a request that costs: from here on it has its turn.
    async fn work(
        &self,
        call: &Call<'_>,
        head: &Head,
        rows: Option<&[Arc<ResourceDef>]>,
        bytes: &[u8],
        trace: &Trace,
    ) -> Result<Answer> {
        if !call.info.is_resource {
            let document = call.info.path.starts_with("/openapi");
            call.long.begin_if(document).await;
            return paths::answer(self, call, head, rows);
        }
        let target = match rows {
            Some(rows) => target_in(rows, &call.info),
            None => self.target(call).await?,
        };
        let Some(target) = target else {
            return Ok(match rows {
                Some(_) => Answer::no_such_path(),
                None => paths::not_served(&call.info, head),
            });
        };
        if head.method == http::Method::HEAD && target.def.flags.native {
            return Ok(verbs::method_not_allowed(call, &target));
        }
        let long = long::is_long(&self.hub, call, &target, bytes.len());
        call.long.begin_if(long).await;
        let _inflight = (call.info.verb != Verb::Watch)
            .then(|| self.metrics().inflight(!call.info.verb.is_read()));
        verbs::answer(self, call, &target, bytes, &trace.labels).await
    }

    /// Where a path leads.
    fn resolve<'p>(&self, routed: &Route<'p>) -> Place<'p> {
        let path = match routed.cluster {
            ClusterRef::None => return Place::Nowhere,
            ClusterRef::Wildcard => return Place::Everywhere,
            ClusterRef::Id(id) => return Place::In(id.into()),
            ClusterRef::Path(path) => path,
        };
        match self.authorizer.view().resolve(path) {
            Resolution::Cluster(cluster) => Place::In(cluster),
            Resolution::Wildcard => Place::Everywhere,
            Resolution::Unavailable => {
                Place::Answer(Box::new(Answer::text(503, "Not available.\n")))
            }
            Resolution::Malformed | Resolution::NotFound => Place::Missing(path),
            Resolution::Mount { .. } => {
                Place::Answer(Box::new(Answer::text(501, "mounts are not served\n")))
            }
        }
    }

    /// Whether the caller is told that a path leads nowhere: who could look where it breaks off.
    /// For all others it is a logical cluster that they may not enter, like any that exists.
    fn may_miss(&self, user: &UserInfo, path: &str) -> bool {
        let mut at = path;
        while let Some((parent, name)) = at.rsplit_once(':') {
            if let Some(cluster) = self.authorizer.view().existing_cluster(parent) {
                let want = Attributes::resource(user, "get", "tenancy.kcp.io", "workspaces", name);
                return self.authorizer.authorize(&want, Some(&cluster)).allowed;
            }
            at = parent;
        }
        user.is_master()
    }

    /// A logical cluster that was taken offline answers nothing but what shows why (kcp-api 3.1).
    fn refuse_inactive(&self, cluster: &ClusterName, path: &str) -> Result<()> {
        const OPEN: [&str; 2] = ["/openapi", "/apis/core.kcp.io/v1alpha1/logicalclusters"];
        let object = self.authorizer.view().logical_cluster(cluster);
        let marked = object.is_some_and(|object| is_inactive(&object));
        if !marked || OPEN.iter().any(|open| path.starts_with(open)) {
            return Ok(());
        }
        let resource = GroupResource::new("core.kcp.io", "logicalclusters");
        Err(Status::forbidden(
            &resource,
            cluster,
            "logical cluster is marked inactive",
        ))
    }

    fn authenticate(&self, head: &Head, conn: &ConnInfo, trace: &mut Trace) -> Result<UserInfo> {
        let certs = conn.certs.as_deref();
        trace.known = true;
        match self.authenticator.authenticate(&head.headers, certs) {
            Ok(Some(user)) => {
                self.metrics.authentication("success");
                trace.user = user.clone();
                Ok(user)
            }
            Ok(None) => {
                self.metrics.authentication("anonymous");
                let user = UserInfo::new("system:anonymous", &["system:unauthenticated"]);
                trace.user = user.clone();
                Ok(user)
            }
            Err(_) => {
                self.metrics.authentication("failure");
                Err(Status::unauthorized())
            }
        }
    }

    fn impersonate(
        &self,
        head: &Head,
        user: UserInfo,
        cluster: Option<&str>,
        trace: &mut Trace,
    ) -> Result<UserInfo> {
        use hanse_auth::impersonation::Impersonation;
        let Some(wish) = Impersonation::from_headers(&head.headers)? else {
            return Ok(user);
        };
        let become_ = wish.check(&user, cluster, &self.authorizer)?;
        trace.impersonated = Some(become_.clone());
        Ok(become_)
    }

    /// What the surface says about the resource; `None` when it is not served.
    async fn target(&self, call: &Call<'_>) -> Result<Option<Target>> {
        let info = &call.info;
        if call.wildcard {
            return self.wildcard_target(call);
        }
        let Some(cluster) = &call.cluster else {
            return Err(crate::call::no_cluster());
        };
        let surface = match self.catalog.known(cluster) {
            Some(surface) => surface,
            None => {
                call.long.begin().await;
                self.catalog.surface(cluster)
            }
        };
        let def = match surface.find(info.group, info.version, info.resource) {
            Lookup::Found(def) => Arc::clone(def),
            Lookup::NotFound => return Ok(None),
            Lookup::Unavailable => {
                let resource = GroupResource::new(info.group, info.resource);
                let why = format!("{resource} is currently unavailable");
                return Err(Status::service_unavailable(why));
            }
        };
        // With an identity only a binding of that identity is meant, never a CRD.
        if info
            .identity
            .is_some_and(|identity| def.storage.identity != identity)
        {
            return Ok(None);
        }
        let same = |row: &&Arc<ResourceDef>| row.plural == def.plural && row.group == def.group;
        let versions = surface.rows().iter().filter(same).cloned().collect();
        Ok(Some(Target::new(def, versions)))
    }

    /// The target of a wildcard request: what is the same in every logical cluster by its name
    /// alone, what is bound by its identity (kcp-api 1.6).
    fn wildcard_target(&self, call: &Call<'_>) -> Result<Option<Target>> {
        let info = &call.info;
        if !matches!(info.verb, Verb::List | Verb::Watch) {
            let resource = GroupResource::new(info.group, info.resource);
            let mut status = Status::method_not_allowed(&resource, info.verb.as_str());
            status.message.push_str(" in the `*` logical cluster");
            return Err(status);
        }
        let (group, version, plural) = (info.group, info.version, info.resource);
        let found = match info.identity {
            Some("") => return Err(Status::plain("empty identity in the request")),
            Some(identity) => self.catalog.by_identity(group, version, plural, identity),
            None => {
                let mut rows = self.catalog.built_in().iter().chain(self.catalog.system());
                rows.find(|row| {
                    row.group == group && row.version == version && row.plural == plural
                })
                .cloned()
            }
        };
        Ok(found.map(|def| {
            let all = self.catalog.built_in().iter().chain(self.catalog.system());
            let same = |row: &&Arc<ResourceDef>| row.plural == plural && row.group == group;
            Target::new(def, all.filter(same).cloned().collect())
        }))
    }
}

/// The target among the rows of a view.
fn target_in(rows: &[Arc<ResourceDef>], info: &RequestInfo<'_>) -> Option<Target> {
    let same = |row: &&Arc<ResourceDef>| row.group == info.group && row.plural == info.resource;
    let found = rows
        .iter()
        .filter(same)
        .find(|row| row.version == info.version)?;
    Some(Target::new(
        Arc::clone(found),
        rows.iter().filter(same).cloned().collect(),
    ))
}

/// Where a request goes.
enum Place<'p> {
    Nowhere,
    /// To a path that leads nowhere.
    Missing(&'p str),
    Everywhere,
    In(ClusterName),
    Answer(Box<Answer>),
}

/// `/metrics` belongs to the shard, not to a workspace.
fn shard_level(routed: &Route<'_>) -> Option<Answer> {
    let in_workspace = routed.cluster != ClusterRef::None || routed.view.is_some();
    let text = "shard-level endpoint not available at workspace scope\n";
    (in_workspace && routed.path == "/metrics").then(|| Answer::text(501, text))
}

/// The path, percent-decoded once, with the logical cluster of clients that cannot say theirs.
fn decoded_path(head: &Head) -> String {
    let raw = head.uri.path();
    let path = percent_encoding::percent_decode_str(raw).decode_utf8_lossy();
    match hanse_auth::cluster_of_pod_client(&path, &head.headers) {
        Some(cluster) => format!("/clusters/{cluster}{path}"),
        None => path.into_owned(),
    }
}

/// Whether the caller asks for his home workspace, which is made by being asked for.
fn is_home(info: &RequestInfo<'_>, cluster: Option<&ClusterName>) -> bool {
    cluster.is_some_and(|cluster| cluster.as_str() == "root")
        && (info.group, info.resource) == ("tenancy.kcp.io", "workspaces")
        && (info.verb, info.name, info.subresource) == (Verb::Get, HOME_NAME, "")
}

/// A list or watch of one name is authorized as a request for that name (URL-07).
fn name_in_selector(info: &RequestInfo<'_>, query: &Query) -> Option<String> {
    if !info.is_resource
        || !info.name.is_empty()
        || !matches!(info.verb, Verb::List | Verb::Watch | Verb::DeleteCollection)
    {
        return None;
    }
    let text = query.get("fieldSelector").filter(|text| !text.is_empty())?;
    let selector = hanse_wire::selector::FieldSelector::parse(text).ok()?;
    let name = selector.exact("metadata.name")?;
    hanse_schema::names::is_path_segment_name(name)
        .is_empty()
        .then(|| name.to_owned())
}

fn wanted(head: &Head) -> hanse_wire::negotiate::Wanted<'_> {
    let text = |name: HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok());
    hanse_wire::negotiate::Wanted {
        accept: text(header::ACCEPT),
        pretty: None,
        user_agent: text(header::USER_AGENT),
    }
}
