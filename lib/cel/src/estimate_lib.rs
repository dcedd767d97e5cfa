//! Cost estimates of calls by the rules of the libraries: Kubernetes' own, lists and sets.
//!
//! The walk over the expression and the standard functions are in [`crate::estimate`].

use crate::ast::{Kind, Literal, op};
use crate::estimate::{CostEstimate, Coster, LIST, MESSAGE, Node, REGEX, Size, TEXT};
use crate::types::Type;

impl<'c> Coster<'c> {
    pub(crate) fn kubernetes(
        &self,
        function: &str,
        overload: &str,
        target: Option<&Node<'c>>,
        args: &[Node<'c>],
    ) -> Option<(CostEstimate, Option<Size>)> {
        let one = Some((CostEstimate::fixed(1), None));
        let first = args.first();
        match function {
            "check" => Some((CostEstimate::fixed(350_000), None)),
            "serviceAccount" | "path" | "group" | "resource" | "subresource" | "namespace"
            | "name" | "allowed" | "reason" | "error" | "errored" => one,
            "fieldSelector" | "labelSelector" if args.len() == 1 => {
                let size = self.node_size(first?);
                let requirements = size.scaled(0.5).scaled((LIST + MESSAGE) as f64);
                let cost = CostEstimate::fixed(LIST)
                    .plus(size.scaled(TEXT))
                    .plus(requirements);
                Some((cost, None))
            }
            "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => {
                let target = target?;
                let size = self.node_size(target);
                let Some(element) = self.element(target) else {
                    return Some((size.scaled(TEXT), None));
                };
                let mut each = CostEstimate::fixed(1);
                if matches!(element.t, Type::String | Type::Bytes) {
                    each = each.plus(self.node_size(&element).scaled(TEXT));
                }
                Some((size.times(each), None))
            }
            "url" | "jsonpatch.escapeKey" if args.len() == 1 => {
                let size = self.node_size(first?);
                Some((size.scaled(TEXT), Some(size)))
            }
            "lowerAscii" | "upperAscii" | "substring" | "trim" => {
                let size = self.node_size(target?);
                Some((size.scaled(TEXT), Some(size)))
            }
            "replace" if args.len() >= 2 => {
                let (text, old, new) = (
                    self.node_size(target?),
                    self.node_size(&args[0]),
                    self.node_size(&args[1]),
                );
                Some((text.scaled(2.0 * TEXT), Some(replaced(text, old, new))))
            }
            "split" => {
                let size = self.node_size(target?);
                let max = args.get(1).and_then(|a| literal_int(a)).unwrap_or(size.max);
                Some((size.scaled(2.0 * TEXT), Some(Size { min: 0, max })))
            }
            "join" => self.join(target?, first),
            "find" | "findAll" => {
                let (size, pattern) = (self.node_size(target?), self.node_size(first?));
                let text = size.plus(Size::fixed(1)).scaled(TEXT);
                let result = Size {
                    min: 0,
                    max: size.max,
                };
                Some((text.times(pattern.scaled(REGEX)), Some(result)))
            }
            "ip" if overload == "cidr_ip" => one,
            "cidr" | "isIP" | "isCIDR" | "ip" | "quantity" | "isQuantity" | "semver"
            | "isSemver" => Some((self.node_size(first?).scaled(TEXT), None)),
            "ip.isCanonical" => Some((self.node_size(first?).scaled(2.0 * TEXT), None)),
            "masked"
            | "prefixLength"
            | "family"
            | "isUnspecified"
            | "isLoopback"
            | "isLinkLocalMulticast"
            | "isLinkLocalUnicast"
            | "isGlobalUnicast" => one,
            "containsIP" | "containsCIDR" => {
                let address = Size { min: 4, max: 16 };
                let mut cost = address.plus(address).scaled(TEXT);
                if function == "containsCIDR" {
                    cost = cost.plus(address.scaled(TEXT)).plus(CostEstimate::fixed(1));
                }
                if overload.ends_with("_string") {
                    cost = cost.plus(self.node_size(first?).scaled(TEXT));
                }
                Some((cost, None))
            }
            "validate" => {
                let size = self.node_size(first?);
                Some((size.scaled(TEXT).scaled(128.0 * REGEX), None))
            }
            "format.named" | "sign" | "asInteger" | "isInteger" | "asApproximateFloat"
            | "isGreaterThan" | "isLessThan" | "compareTo" | "add" | "sub" | "major" | "minor"
            | "patch" | "getScheme" | "getHostname" | "getHost" | "getPort" | "getEscapedPath"
            | "getQuery" => one,
            op::EQUALS => library_equality(args),
            _ => None,
        }
    }

    fn join(
        &self,
        list: &Node<'_>,
        separator: Option<&Node<'_>>,
    ) -> Option<(CostEstimate, Option<Size>)> {
        let count = self.node_size(list);
        let mut size = match self.element(list) {
            Some(element) => count.times(self.node_size(&element)),
            None => Size::default(),
        };
        if let Some(separator) = separator {
            let between = Size {
                min: count.min.saturating_sub(1),
                max: count.max.saturating_sub(1),
            };
            size = size.plus(self.node_size(separator).times(between));
        }
        Some((size.scaled(TEXT), Some(size)))
    }

    pub(crate) fn list_extension(
        &self,
        overload: &str,
        target: Option<&Node<'c>>,
        args: &[Node<'c>],
    ) -> Option<(CostEstimate, Option<Size>)> {
        let allocating = |factor: f64, size: Size| {
            let cost = size.scaled(factor).plus(CostEstimate::fixed(1 + LIST));
            Some((cost, Some(size)))
        };
        let squared = |node: &Node<'_>, factor: f64| {
            let size = self.node_size(node);
            allocating(factor, size.times(size))
        };
        let text_factor = |text: bool| if text { 2.0 + TEXT } else { 2.0 };
        match overload {
            "list_slice" => {
                let size = self.node_size(target?);
                let start = args.first().and_then(literal_int_or_zero).unwrap_or(0);
                let end = args
                    .get(1)
                    .and_then(literal_int_or_zero)
                    .unwrap_or(size.max);
                allocating(1.0, Size::fixed(end.wrapping_sub(start)))
            }
            "lists_range" => {
                let n = args
                    .first()
                    .and_then(literal_int_or_zero)
                    .unwrap_or(u64::MAX);
                allocating(1.0, Size::fixed(n))
            }
            "list_reverse" => allocating(1.0, self.node_size(target?)),
            "list_flatten" => allocating(1.0, self.node_size(target?)),
            "list_flatten_int" => {
                let depth = args
                    .first()
                    .and_then(literal_int_or_zero)
                    .unwrap_or(u64::MAX);
                allocating(depth as f64, self.node_size(target?))
            }
            "list_distinct" => squared(target?, 2.0),
            "list_sets_contains_list"
            | "list_sets_intersects_list"
            | "list_sets_equivalent_list" => {
                let [a, b] = args else { return None };
                let factor = if overload.contains("equivalent") {
                    2.0
                } else {
                    1.0
                };
                let cost = self.node_size(a).times(self.node_size(b)).scaled(factor);
                Some((cost.plus(CostEstimate::fixed(1)), None))
            }
            _ => {
                let element = overload.strip_prefix("list_")?;
                if let Some(t) = element.strip_suffix("_sortByAssociatedKeys") {
                    return squared(args.first()?, text_factor(matches!(t, "string" | "bytes")));
                }
                let t = element.strip_suffix("_sort")?;
                squared(target?, text_factor(matches!(t, "string" | "bytes")))
            }
        }
    }
}

/// Equality of two values of Kubernetes' libraries.
fn library_equality(args: &[Node<'_>]) -> Option<(CostEstimate, Option<Size>)> {
    let [a, b] = args else { return None };
    if !a.t.same(&b.t, false) {
        return None;
    }
    let cost = match a.t.runtime_name() {
        "net.IP" | "net.CIDR" | "kubernetes.Quantity" | "kubernetes.Semver" => {
            CostEstimate::fixed(1)
        }
        name if name.starts_with("kubernetes.authorization.") => CostEstimate::fixed(1),
        "kubernetes.NamedFormat" => CostEstimate { min: 1, max: 64 }.scaled(TEXT),
        "kubernetes.URL" => {
            let max = b.computed.map_or(1, |s| s.max);
            CostEstimate { min: 1, max }.scaled(TEXT)
        }
        _ => return None,
    };
    Some((cost, None))
}

/// Size of a text in which each `old` becomes `new`.
fn replaced(text: Size, old: Size, new: Size) -> Size {
    let times = |n: u64, of: u64| (n as f64 / of as f64).ceil() as u64;
    let (most, kept_most) = if old.min == 0 {
        (text.max.saturating_add(1), text.max)
    } else if new.max <= old.min {
        (0, text.max)
    } else {
        (times(text.max, old.min), 0)
    };
    let (least, kept_least) = if old.max == 0 {
        (text.min.saturating_add(1), text.min)
    } else if old.max <= new.min {
        (0, text.min)
    } else {
        (times(text.min, old.max), 0)
    };
    let count = Size {
        min: least,
        max: most,
    };
    count.times(new).plus(Size {
        min: kept_least,
        max: kept_most,
    })
}

fn literal_int(node: &Node<'_>) -> Option<u64> {
    match node.expr?.kind {
        Kind::Literal(Literal::Int(i)) => Some(i as u64),
        _ => None,
    }
}

fn literal_int_or_zero(node: &Node<'_>) -> Option<u64> {
    match node.expr?.kind {
        Kind::Literal(Literal::Int(i)) => Some(i.max(0) as u64),
        _ => None,
    }
}
