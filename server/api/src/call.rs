//! One request on its way: what it asks for, who asks, and what it is about.
//!
//! [`Call`] is made once by the chain in `service.rs` and lent to the verb. [`Target`] is what the
//! surface of the logical cluster says about the resource. Both live as long as the request and
//! no longer.

use std::sync::Arc;

use hanse_auth::UserInfo;
use hanse_cache::{ClusterName, Object, ObjectKey, ResourceId, Scope};
use hanse_kinds::ResourceDef;
use hanse_wire::gvk::GroupResource;
use hanse_wire::negotiate::{Forms, Output, Wanted, output, stream_output};
use hanse_wire::query::Query;
use hanse_wire::status::{Result, Status};
use hanse_wire::warning::Warnings;
use http::header::{self, HeaderMap, HeaderName};
use parking_lot::Mutex;

use crate::convert;
use crate::info::{RequestInfo, Verb};
use crate::limits::MANAGER_BYTES_MAX;
use crate::long::LongWork;
use crate::views::Lens;

/// See the module's words.
pub struct Call<'r> {
    /// What is asked for.
    pub info: RequestInfo<'r>,
    /// The decoded query.
    pub query: Query,
    /// All headers.
    pub headers: &'r HeaderMap,
    /// Who asks, after impersonation.
    pub user: UserInfo,
    /// The logical cluster; `None` for wildcard requests and those without one.
    pub cluster: Option<ClusterName>,
    /// Whether every logical cluster is meant.
    pub wildcard: bool,
    /// Through which virtual workspace it looks, if any.
    pub lens: Option<Lens>,
    /// Warnings for the client, collected on the way.
    pub warnings: &'r Mutex<Warnings>,
    /// To be begun before work that may take more than a millisecond.
    pub long: &'r LongWork,
}

impl Call<'_> {
    /// Whether an object exists for this call: what its view does not show does not.
    #[must_use]
    pub fn shows(&self, object: &Object) -> bool {
        self.lens.as_ref().is_none_or(|lens| lens.shows(object))
    }

    /// A header's text; none when it is no text.
    #[must_use]
    pub fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// All `Accept` headers as one; most clients send one.
    #[must_use]
    pub fn wanted(&self) -> Wanted<'_> {
        Wanted {
            accept: self.header(header::ACCEPT),
            pretty: self.query.get("pretty"),
            user_agent: self.header(header::USER_AGENT),
        }
    }

    /// The form of the answer.
    ///
    /// # Errors
    /// 406.
    pub fn output(&self, forms: Forms) -> Result<Output> {
        match self.info.verb {
            Verb::Watch => stream_output(&self.wanted(), forms),
            _ => output(&self.wanted(), forms),
        }
    }

    /// Adds a warning to the answer.
    pub fn warn(&self, text: impl Into<String>) {
        self.warnings.lock().add(text);
    }

    /// The field manager of a write without `fieldManager`: the User-Agent up to the first slash,
    /// without what no manager's name may hold (SSA-34).
    #[must_use]
    pub fn default_manager(&self) -> String {
        let agent = self.header(header::USER_AGENT).unwrap_or_default();
        let name = agent.split('/').next().unwrap_or_default();
        let mut cut = name.len().min(MANAGER_BYTES_MAX);
        while !name.is_char_boundary(cut) {
            cut -= 1;
        }
        let name: String = name[..cut].chars().filter(|c| !c.is_control()).collect();
        if name.is_empty() {
            "unknown".to_owned()
        } else {
            name
        }
    }
}

/// What a request on a resource is about.
#[derive(Clone)]
pub struct Target {
    /// The resource in the requested version.
    pub def: Arc<ResourceDef>,
    /// All served versions of it, the requested one among them.
    pub versions: Vec<Arc<ResourceDef>>,
    /// Under which its objects are stored.
    pub resource: ResourceId,
}

impl Target {
    /// The target for a definition and its neighbours in other versions.
    #[must_use]
    pub fn new(def: Arc<ResourceDef>, versions: Vec<Arc<ResourceDef>>) -> Self {
        let storage = &def.storage;
        let resource = ResourceId::new(&storage.group, &storage.resource, &storage.identity);
        Self {
            def,
            versions,
            resource,
        }
    }

    /// As messages name the resource.
    #[must_use]
    pub fn group_resource(&self) -> GroupResource {
        self.def.group_resource()
    }

    /// The definition in the version in which objects are stored, when that is served too.
    #[must_use]
    pub fn stored(&self) -> Option<&ResourceDef> {
        let all = std::iter::once(&self.def).chain(&self.versions);
        all.map(Arc::as_ref)
            .find(|def| convert::is_stored_version(def))
    }

    /// The key of an object named in the path.
    ///
    /// # Errors
    /// 500 without a logical cluster: such requests must have ended before.
    pub fn key(&self, call: &Call<'_>, name: &str) -> Result<ObjectKey> {
        let cluster = call.cluster.as_ref().ok_or_else(no_cluster)?;
        Ok(ObjectKey::new(
            &self.resource,
            cluster,
            self.namespace(call),
            name,
        ))
    }

    /// The namespace of the path, where the resource has namespaces.
    #[must_use]
    pub fn namespace<'c>(&self, call: &'c Call<'_>) -> &'c str {
        if self.def.namespaced {
            call.info.namespace
        } else {
            ""
        }
    }

    /// The scope of a collection.
    ///
    /// # Errors
    /// 500 without a logical cluster.
    pub fn scope(&self, call: &Call<'_>) -> Result<Scope> {
        if call.wildcard {
            return Ok(Scope::Wildcard);
        }
        let cluster = call.cluster.clone().ok_or_else(no_cluster)?;
        Ok(match self.namespace(call) {
            "" => Scope::Cluster(cluster),
            namespace => Scope::Namespace(cluster, namespace.into()),
        })
    }
}

/// 500 for anything that touches objects without a logical cluster in its URL.
#[must_use]
pub fn no_cluster() -> Box<Status> {
    Status::plain("cluster path is empty in the request context")
}
