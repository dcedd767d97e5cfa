//! Dotted paths as people write them in rules: `spec.items[].name`, `metadata.labels['a.b/c']`.
//!
//! Start at [`Steps`]. `[]` means each element of a list, quotes keep dots. Invariant: a path that
//! parses never fails on any tree; where the tree is shaped otherwise it finds nothing and changes
//! nothing. Deliberately elsewhere: the paths in which Kubernetes names conflicts (`path`).

use serde_json::{Map, Value};

/// Most steps of a path.
pub const STEPS_MAX: usize = 32;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Field(String),
    Each,
}

/// A path that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Steps(Vec<Step>);

/// What becomes of a field.
pub enum Edit {
    /// It stays.
    Keep,
    /// It becomes this.
    Set(Value),
    /// It goes.
    Remove,
}

impl Steps {
    /// Reads a path.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut steps = Vec::new();
        let mut rest = text.strip_prefix('.').unwrap_or(text);
        let wrong = |what: &str| Err(format!("path {text:?}: {what}"));
        loop {
            if let Some(tail) = rest.strip_prefix("[]") {
                steps.push(Step::Each);
                rest = tail;
            } else if let Some(tail) = rest.strip_prefix("['") {
                let Some((name, tail)) = tail.split_once("']") else {
                    return wrong("a quote is not closed");
                };
                steps.push(Step::Field(name.to_owned()));
                rest = tail;
            } else {
                let end = rest.find(['.', '[']).unwrap_or(rest.len());
                if end == 0 {
                    return wrong("a field has no name");
                }
                steps.push(Step::Field(rest[..end].to_owned()));
                rest = &rest[end..];
            }
            if rest.is_empty() {
                break;
            }
            rest = match rest.strip_prefix('.') {
                Some(tail) => tail,
                None if rest.starts_with('[') => rest,
                None => return wrong("a dot is missing"),
            };
        }
        if steps.len() > STEPS_MAX {
            return wrong("it has too many steps");
        }
        Ok(Self(steps))
    }

    /// The first field's name.
    #[must_use]
    pub fn root(&self) -> &str {
        match self.0.first() {
            Some(Step::Field(name)) => name,
            _ => "",
        }
    }

    /// Every value at the path.
    #[must_use]
    pub fn all<'a>(&self, tree: &'a Value) -> Vec<&'a Value> {
        let mut out = vec![tree];
        for step in &self.0 {
            out = match step {
                Step::Field(name) => out.into_iter().filter_map(|v| v.get(name)).collect(),
                Step::Each => {
                    let lists = out.into_iter().filter_map(Value::as_array);
                    lists.flatten().collect()
                }
            };
        }
        out
    }

    /// The one value at the path.
    #[must_use]
    pub fn one<'a>(&self, tree: &'a Value) -> Option<&'a Value> {
        self.all(tree).into_iter().next()
    }

    /// Asks what becomes of every field at the path, and of the one that could be there. Parents
    /// are made for what is set.
    ///
    /// # Errors
    /// What the asked one fails with; the tree may be half changed then.
    pub fn edit<E>(
        &self,
        tree: &mut Value,
        ask: &mut dyn FnMut(Option<&Value>) -> Result<Edit, E>,
    ) -> Result<(), E> {
        edit(tree, &self.0, ask)
    }

    /// Puts a value at the path.
    pub fn put(&self, tree: &mut Value, value: &Value) {
        let set: Result<(), ()> = self.edit(tree, &mut |_| Ok(Edit::Set(value.clone())));
        // Nobody asked here fails.
        debug_assert!(set.is_ok());
    }

    /// Takes away what is at the path.
    pub fn cut(&self, tree: &mut Value) {
        let cut: Result<(), ()> = self.edit(tree, &mut |found| {
            Ok(found.map_or(Edit::Keep, |_| Edit::Remove))
        });
        debug_assert!(cut.is_ok());
    }
}

fn edit<E>(
    tree: &mut Value,
    steps: &[Step],
    ask: &mut dyn FnMut(Option<&Value>) -> Result<Edit, E>,
) -> Result<(), E> {
    let Some((step, rest)) = steps.split_first() else {
        return Ok(());
    };
    match step {
        Step::Field(name) => field(tree, name, rest, ask),
        Step::Each => {
            let Some(list) = tree.as_array_mut() else {
                return Ok(());
            };
            if !rest.is_empty() {
                return list.iter_mut().try_for_each(|item| edit(item, rest, ask));
            }
            let mut kept = Vec::with_capacity(list.len());
            for item in list.drain(..) {
                match ask(Some(&item))? {
                    Edit::Keep => kept.push(item),
                    Edit::Set(value) => kept.push(value),
                    Edit::Remove => {}
                }
            }
            *list = kept;
            Ok(())
        }
    }
}

fn field<E>(
    tree: &mut Value,
    name: &str,
    rest: &[Step],
    ask: &mut dyn FnMut(Option<&Value>) -> Result<Edit, E>,
) -> Result<(), E> {
    let Some(map) = tree.as_object_mut() else {
        return Ok(());
    };
    if rest.is_empty() {
        match ask(map.get(name))? {
            Edit::Keep => {}
            Edit::Set(value) => {
                map.insert(name.to_owned(), value);
            }
            Edit::Remove => {
                map.remove(name);
            }
        }
        return Ok(());
    }
    if let Some(child) = map.get_mut(name) {
        return edit(child, rest, ask);
    }
    // Elements of a list that is not there cannot be thought of; fields can.
    if rest.contains(&Step::Each) {
        return Ok(());
    }
    let mut child = Value::Object(Map::new());
    edit(&mut child, rest, ask)?;
    if child.as_object().is_some_and(|made| !made.is_empty()) {
        map.insert(name.to_owned(), child);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn steps(path: &str) -> Steps {
        Steps::parse(path).unwrap()
    }

    #[test]
    fn paths_are_read_and_found() {
        let tree = json!({"a": {"b.c/d": 1, "l": [{"n": 1}, {"n": 2}, {}]}});
        assert_eq!(steps("a['b.c/d']").one(&tree), Some(&json!(1)));
        assert_eq!(steps(".a.l[].n").all(&tree), [&json!(1), &json!(2)]);
        assert!(steps("a.x.y").one(&tree).is_none());
        for bad in ["", "a..b", "a['b", "a.", "[]x"] {
            assert!(Steps::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn fields_are_set_made_and_cut() {
        let mut tree = json!({"l": [{"n": 1}, {"n": 2}]});
        steps("spec.a.b").put(&mut tree, &json!(3));
        steps("l[].m").put(&mut tree, &json!(true));
        steps("none[].m").put(&mut tree, &json!(true));
        steps("l[].n").cut(&mut tree);
        steps("gone.far").cut(&mut tree);
        let want = json!({"spec": {"a": {"b": 3}}, "l": [{"m": true}, {"m": true}]});
        assert_eq!(tree, want);
        steps("l[]").cut(&mut tree);
        assert_eq!(tree["l"], json!([]));
    }

    proptest! {
        #[test]
        fn no_path_is_too_odd(path in "[a-b\\.\\[\\]']{0,16}") {
            let mut tree = json!({"a": [{"b": {"a": 1}}], "b": 2});
            if let Ok(steps) = Steps::parse(&path) {
                let _ = steps.all(&tree);
                steps.put(&mut tree, &json!(1));
                steps.cut(&mut tree);
            }
        }
    }
}
