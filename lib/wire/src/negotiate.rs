//! Which form an answer takes, and how a body is to be read.
//!
//! Start at [`output`]. An `Accept` header is a list of clauses; the first one, by quality and
//! then by order, that this endpoint can serve decides. Clauses that name a form which the
//! endpoint has not (`as=Table` for a review) are passed over like an unknown media type.

use crate::limits::MAX_ACCEPT_CLAUSES;
use crate::status::{Result, Status};

/// A way to write objects down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// `application/json`
    #[default]
    Json,
    /// `application/yaml`
    Yaml,
}

impl Encoding {
    /// The media type, without parameters.
    pub fn media_type(self) -> &'static str {
        match self {
            Encoding::Json => "application/json",
            Encoding::Yaml => "application/yaml",
        }
    }
}

/// Media types of objects, as errors list them: upstream's list, to the letter. Protobuf is read
/// (bodies of built-in kinds) but not written; every client that sends it also takes JSON.
pub const MEDIA_TYPES: [&str; 3] = [
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
];
/// Media types of watch streams, as errors list them.
pub const STREAM_MEDIA_TYPES: [&str; 1] = ["application/json;stream=watch"];

/// The version of the meta API in which a converted form is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MetaVersion {
    /// meta.k8s.io/v1
    V1,
    /// meta.k8s.io/v1beta1
    V1Beta1,
}

impl MetaVersion {
    /// The `apiVersion` of the converted object.
    pub fn api_version(self) -> &'static str {
        match self {
            MetaVersion::V1 => "meta.k8s.io/v1",
            MetaVersion::V1Beta1 => "meta.k8s.io/v1beta1",
        }
    }
}

/// What is made of the objects of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Form {
    /// They stay as they are.
    #[default]
    Object,
    /// A table for people.
    Table(MetaVersion),
    /// Only the metadata of one object.
    PartialMetadata(MetaVersion),
    /// Only the metadata of every object of a list.
    PartialMetadataList(MetaVersion),
    /// Discovery of all groups in one document (apidiscovery.k8s.io/v2).
    AggregatedDiscovery,
}

impl Form {
    /// The 406 for the singular form on a list or the list form on a single object, with the
    /// name of what was found, such as `ConfigMapList`.
    pub fn mismatch(self, found: &str) -> Box<Status> {
        Status::not_acceptable_form(match self {
            Form::PartialMetadataList(_) => format!(
                "you requested PartialObjectMetadataList, but the requested object is not a list \
                 ({found})"
            ),
            _ => format!(
                "you requested PartialObjectMetadata, but the requested object is a list ({found})"
            ),
        })
    }
}

/// Which forms an endpoint can give besides the plain one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forms {
    /// Tables.
    pub table: bool,
    /// Partial metadata, of objects and lists.
    pub partial: bool,
    /// Aggregated discovery.
    pub discovery: bool,
}

impl Forms {
    /// Endpoints that only have their objects (reviews, errors).
    pub const PLAIN: Forms = Forms {
        table: false,
        partial: false,
        discovery: false,
    };
    /// Stored resources.
    pub const RESOURCE: Forms = Forms {
        table: true,
        partial: true,
        discovery: false,
    };
    /// `/api` and `/apis`.
    pub const DISCOVERY: Forms = Forms {
        table: false,
        partial: false,
        discovery: true,
    };
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// How it is written.
    pub encoding: Encoding,
    /// What is made of it.
    pub form: Form,
    /// Whether it is indented for people.
    pub pretty: bool,
}

impl Output {
    /// The `Content-Type` of the answer. Discovery repeats its parameters: clients tell the
    /// aggregated document from the old one by them.
    pub fn content_type(&self) -> &'static str {
        match (self.form, self.encoding) {
            (Form::AggregatedDiscovery, _) => {
                "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
            }
            (_, encoding) => encoding.media_type(),
        }
    }
}

/// What of a request decides about the form of its answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'r> {
    /// The `Accept` header.
    pub accept: Option<&'r str>,
    /// The `pretty` parameter of the query.
    pub pretty: Option<&'r str>,
    /// The `User-Agent` header.
    pub user_agent: Option<&'r str>,
}

/// Decides the form of an answer.
///
/// # Errors
/// 406 when no clause can be served.
pub fn output(wanted: &Wanted<'_>, forms: Forms) -> Result<Output> {
    let mut output = match wanted.accept.filter(|accept| !accept.is_empty()) {
        None => Output::default(),
        Some(accept) => clauses(accept)
            .iter()
            .find_map(|clause| clause.serve(forms))
            .ok_or_else(|| Status::not_acceptable(&MEDIA_TYPES))?,
    };
    output.pretty |= pretty(wanted);
    if wanted
        .pretty
        .is_some_and(|value| !value.is_empty() && !is_true(value))
    {
        output.pretty = false;
    }
    Ok(output)
}

/// Decides the form of a watch, whose frames are JSON only.
///
/// # Errors
/// 406 when no clause can be served.
pub fn stream_output(wanted: &Wanted<'_>, forms: Forms) -> Result<Output> {
    let Some(accept) = wanted.accept.filter(|accept| !accept.is_empty()) else {
        return Ok(Output::default());
    };
    let found = clauses(accept)
        .iter()
        .find_map(|clause| clause.serve(forms));
    match found {
        Some(output) if output.encoding == Encoding::Json => Ok(Output {
            pretty: false,
            ..output
        }),
        _ => Err(Status::not_acceptable(&STREAM_MEDIA_TYPES)),
    }
}

/// The form of an error: that of the answer without its transformation, JSON when in doubt.
pub fn error_output(wanted: &Wanted<'_>) -> Output {
    output(wanted, Forms::PLAIN).unwrap_or(Output {
        pretty: pretty(wanted),
        ..Output::default()
    })
}

fn is_true(value: &str) -> bool {
    matches!(value, "1" | "t" | "T" | "TRUE" | "true" | "True")
}

fn pretty(wanted: &Wanted<'_>) -> bool {
    match wanted.pretty.filter(|value| !value.is_empty()) {
        Some(value) => is_true(value),
        None => wanted.user_agent.is_some_and(|agent| {
            ["curl", "Wget", "Mozilla/5.0"]
                .iter()
                .any(|human| agent.starts_with(human))
        }),
    }
}

#[derive(Debug)]
struct Clause<'h> {
    kind: &'h str,
    subtype: &'h str,
    quality: f32,
    parameters: Vec<(&'h str, &'h str)>,
}

fn clauses(header: &str) -> Vec<Clause<'_>> {
    let mut out: Vec<Clause<'_>> = header
        .split(',')
        .take(MAX_ACCEPT_CLAUSES)
        .filter_map(Clause::parse)
        .collect();
    let specific = |clause: &Clause<'_>| (clause.kind != "*", clause.subtype != "*");
    // Stable: among equals the order of the header decides.
    out.sort_by(|a, b| {
        b.quality
            .total_cmp(&a.quality)
            .then_with(|| specific(b).cmp(&specific(a)))
    });
    out
}

impl<'h> Clause<'h> {
    fn parse(text: &'h str) -> Option<Self> {
        let mut parts = text.trim().split(';');
        let range = parts.next()?.trim();
        let (kind, subtype) = match range.split_once('/') {
            Some((kind, subtype)) if !subtype.contains('/') => (kind.trim(), subtype.trim()),
            None if range == "*" => ("*", "*"),
            _ => return None,
        };
        let mut clause = Clause {
            kind,
            subtype,
            quality: 1.0,
            parameters: Vec::new(),
        };
        for part in parts {
            let Some((name, value)) = part.split_once('=') else {
                continue;
            };
            match (name.trim(), value.trim()) {
                ("q", value) => clause.quality = value.parse().unwrap_or(0.0),
                parameter => clause.parameters.push(parameter),
            }
        }
        Some(clause)
    }

    fn parameter(&self, name: &str) -> Option<&'h str> {
        let found = self.parameters.iter().rev().find(|(n, _)| *n == name);
        found
            .map(|(_, value)| *value)
            .filter(|value| !value.is_empty())
    }

    fn serve(&self, forms: Forms) -> Option<Output> {
        let encoding = match (self.kind, self.subtype) {
            ("application", "json" | "*") | ("*", "*") => Encoding::Json,
            ("application", "yaml") => Encoding::Yaml,
            _ => return None,
        };
        if self
            .parameter("stream")
            .is_some_and(|stream| stream != "watch")
            || self.parameter("sv").is_some()
        {
            return None;
        }
        let form = match self.parameter("as") {
            None if self.parameter("g").is_some() || self.parameter("v").is_some() => return None,
            None => Form::Object,
            Some(kind) => self.form(kind, encoding, forms)?,
        };
        let pretty = self.parameter("pretty") == Some("1");
        Some(Output {
            encoding,
            form,
            pretty,
        })
    }

    fn form(&self, kind: &str, encoding: Encoding, forms: Forms) -> Option<Form> {
        let group = self.parameter("g").unwrap_or_default();
        let version = self.parameter("v").unwrap_or_default();
        if group == "apidiscovery.k8s.io" {
            let known = kind == "APIGroupDiscoveryList" && version == "v2";
            let served = known && forms.discovery && encoding == Encoding::Json;
            return served.then_some(Form::AggregatedDiscovery);
        }
        let version = match (group, version) {
            ("meta.k8s.io", "v1") => MetaVersion::V1,
            ("meta.k8s.io", "v1beta1") => MetaVersion::V1Beta1,
            _ => return None,
        };
        match kind {
            "Table" if forms.table => Some(Form::Table(version)),
            "PartialObjectMetadata" if forms.partial => Some(Form::PartialMetadata(version)),
            "PartialObjectMetadataList" if forms.partial => {
                Some(Form::PartialMetadataList(version))
            }
            _ => None,
        }
    }
}

/// How the body of a create or update is to be read.
///
/// # Errors
/// 415 for a media type that is not understood.
pub fn input(content_type: Option<&str>) -> Result<Encoding> {
    match media_type(content_type).as_str() {
        "" | "application/json" => Ok(Encoding::Json),
        "application/yaml" => Ok(Encoding::Yaml),
        _ => Err(Status::unsupported_media_type(&MEDIA_TYPES)),
    }
}

fn media_type(content_type: Option<&str>) -> String {
    let text = content_type.unwrap_or_default();
    text.split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}

/// What a patch is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PatchType {
    /// RFC 6902.
    Json,
    /// RFC 7386.
    Merge,
    /// Kubernetes' merge patch that knows about lists.
    StrategicMerge,
    /// Server-side apply.
    Apply,
}

impl PatchType {
    /// The media type.
    pub fn media_type(self) -> &'static str {
        match self {
            PatchType::Json => "application/json-patch+json",
            PatchType::Merge => "application/merge-patch+json",
            PatchType::StrategicMerge => "application/strategic-merge-patch+json",
            PatchType::Apply => "application/apply-patch+yaml",
        }
    }
}

/// How the body of a patch is to be read. Only kinds that Kubernetes defines take strategic merge.
///
/// # Errors
/// 415 with the list of those that are taken. For custom resources the list names apply twice:
/// kcp says so, and tools compare.
pub fn patch_type(content_type: Option<&str>, strategic: bool) -> Result<PatchType> {
    let known = [
        PatchType::Json,
        PatchType::Merge,
        PatchType::StrategicMerge,
        PatchType::Apply,
    ];
    let wanted = media_type(content_type);
    let found = known.into_iter().find(|patch| patch.media_type() == wanted);
    if let Some(found) = found.filter(|patch| strategic || *patch != PatchType::StrategicMerge) {
        return Ok(found);
    }
    let accepted = match strategic {
        true => known,
        false => [
            PatchType::Json,
            PatchType::Merge,
            PatchType::Apply,
            PatchType::Apply,
        ],
    };
    Err(Status::unsupported_media_type(
        &accepted.map(PatchType::media_type),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(header: &str, forms: Forms) -> Result<Output> {
        output(
            &Wanted {
                accept: Some(header),
                ..Wanted::default()
            },
            forms,
        )
    }

    #[test]
    fn takes_the_first_clause_that_can_be_served() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,\
                       application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        let form = |header: &str, forms| accept(header, forms).unwrap().form;
        assert_eq!(form(kubectl, Forms::RESOURCE), Form::Table(MetaVersion::V1));
        assert_eq!(form(kubectl, Forms::PLAIN), Form::Object);
        let protobuf = "application/vnd.kubernetes.protobuf,application/json";
        assert_eq!(form(protobuf, Forms::RESOURCE), Form::Object);
        let encoding = |header: &str| accept(header, Forms::RESOURCE).unwrap().encoding;
        assert_eq!(
            encoding("application/json;q=0.2, application/yaml"),
            Encoding::Yaml
        );
        assert_eq!(encoding("*/*, application/yaml"), Encoding::Yaml);
        assert_eq!(encoding(""), Encoding::Json);
        assert_eq!(encoding("text/html,*/*;q=0.1"), Encoding::Json);
    }

    #[test]
    fn falls_through_unknown_discovery_versions() {
        let header = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,\
                      application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList;\
                      profile=nopeer,application/json";
        let found = accept(header, Forms::DISCOVERY).unwrap();
        assert_eq!(found.form, Form::AggregatedDiscovery);
        assert!(found.content_type().contains("as=APIGroupDiscoveryList"));
        let beta = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,\
                    application/json";
        assert_eq!(accept(beta, Forms::DISCOVERY).unwrap().form, Form::Object);
    }

    #[test]
    fn refuses_what_it_cannot_serve() {
        let status = accept("application/xml", Forms::RESOURCE).unwrap_err();
        assert_eq!(status.code, 406);
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
        assert_eq!(accept(table, Forms::PLAIN).unwrap_err().code, 406);
        assert_eq!(
            error_output(&Wanted {
                accept: Some(table),
                ..Wanted::default()
            })
            .form,
            Form::Object
        );
        let yaml = Wanted {
            accept: Some("application/yaml"),
            ..Wanted::default()
        };
        assert_eq!(stream_output(&yaml, Forms::RESOURCE).unwrap_err().code, 406);
        let watch = Wanted {
            accept: Some("application/json;stream=watch"),
            ..Wanted::default()
        };
        assert!(stream_output(&watch, Forms::RESOURCE).is_ok());
    }

    #[test]
    fn is_pretty_for_people() {
        let pretty = |pretty: Option<&str>, user_agent: Option<&str>, accept: Option<&str>| {
            output(
                &Wanted {
                    accept,
                    pretty,
                    user_agent,
                },
                Forms::PLAIN,
            )
            .unwrap()
            .pretty
        };
        assert!(pretty(Some("true"), None, None));
        assert!(pretty(None, Some("curl/8.5"), None));
        assert!(pretty(None, None, Some("application/json;pretty=1")));
        assert!(!pretty(Some("false"), Some("curl/8.5"), None));
        assert!(!pretty(None, Some("kubectl/v1.35"), None));
    }

    #[test]
    fn reads_content_types() {
        assert_eq!(input(None).unwrap(), Encoding::Json);
        assert_eq!(
            input(Some("application/json; charset=utf-8")).unwrap(),
            Encoding::Json
        );
        assert_eq!(input(Some("text/plain")).unwrap_err().code, 415);
        let strategic = Some("application/strategic-merge-patch+json");
        assert_eq!(
            patch_type(strategic, true).unwrap(),
            PatchType::StrategicMerge
        );
        assert_eq!(
            patch_type(strategic, false).unwrap_err().message,
            "the body of the request was in an unknown format - accepted media types include: \
             application/json-patch+json, application/merge-patch+json, \
             application/apply-patch+yaml, application/apply-patch+yaml"
        );
        assert_eq!(patch_type(None, true).unwrap_err().code, 415);
    }
}
