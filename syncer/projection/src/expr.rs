//! CEL in rules: compiled once, run over trees, bounded.
//!
//! Start at [`Expression`]. Variables are of any type, so a mistake in a field's name is an error
//! of the run, told with the input. Invariant: an expression sees nothing but the trees that it is
//! given, and what all expressions of one turn may cost together is bounded by [`Fuel`].

use hanse_cel::{Binding, Budget, DeclType, Decls, Env, Program, limits};
use serde_json::Value;

use crate::limits::{INPUT_BYTES_MAX, SITE_COST, TURN_COST};

/// What the expressions of one turn may still cost.
#[derive(Debug)]
pub struct Fuel(u64);

impl Default for Fuel {
    fn default() -> Self {
        Self(TURN_COST)
    }
}

impl Fuel {
    /// What a turn over so many sites may cost: a little more for each.
    #[must_use]
    pub fn for_sites(sites: usize) -> Self {
        let sites = u64::try_from(sites).unwrap_or(u64::MAX);
        Self(TURN_COST.saturating_add(sites.saturating_mul(SITE_COST)))
    }
}

/// One compiled expression.
#[derive(Debug)]
pub struct Expression {
    program: Program,
    names: &'static [&'static str],
}

impl Expression {
    /// Compiles an expression over variables of any type.
    ///
    /// # Errors
    /// What is wrong with it, as cel-go says it.
    pub fn compile(text: &str, names: &'static [&'static str]) -> Result<Self, String> {
        let decls = names
            .iter()
            .fold(Decls::new(), |d, name| d.variable(*name, DeclType::any()));
        let program = Env::for_stored_expressions()
            .compile(text, &decls)
            .map_err(|error| error.to_string())?;
        Ok(Self { program, names })
    }

    /// Runs it over trees, in the order of the names that it was compiled with.
    ///
    /// # Errors
    /// Why there is no value, with what it looked at.
    pub fn run(&self, inputs: &[&Value], fuel: &mut Fuel, hide: bool) -> Result<Value, String> {
        let of = |name: &str| {
            let at = self.names.iter().position(|n| *n == name)?;
            inputs.get(at).copied()
        };
        let bind = |name: &str| of(name).map_or(Binding::Absent, Binding::Json);
        let budget = Budget {
            cost: fuel.0.min(limits::CALL_COST),
            interrupt: None,
        };
        let (result, cost) = self.program.eval(&bind, budget);
        fuel.0 = fuel.0.saturating_sub(cost);
        let said = match result {
            Ok(value) => match value.to_json() {
                Some(json) => return Ok(json),
                None => format!("a {} is no JSON", value.type_name()),
            },
            Err(error) => error.to_string(),
        };
        Err(match hide {
            true => format!("{said} (the input is not shown: it may hold a secret)"),
            false => format!("{said}; input: {}", self.input(&of)),
        })
    }

    /// What the expression looks at, cut short: the smallest variables first, because the small
    /// ones say which field it was about.
    fn input<'a>(&self, of: &dyn Fn(&str) -> Option<&'a Value>) -> String {
        let used = self.names.iter().filter(|name| self.program.uses(name));
        let mut parts: Vec<String> = used
            .filter_map(|name| Some(format!("{name} = {}", of(name)?)))
            .collect();
        parts.sort_by_key(String::len);
        cut(&parts.join(", "), INPUT_BYTES_MAX)
    }
}

/// A text of at most so many bytes.
#[must_use]
pub fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let mut end = most;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}...", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn runs_and_tells_what_it_looked_at() {
        let names: &[&str] = &["object", "self"];
        let e = Expression::compile("self + object.spec.n", names).unwrap();
        let object = json!({"spec": {"n": 2}});
        let mut fuel = Fuel::default();
        assert_eq!(e.run(&[&object, &json!(1)], &mut fuel, false), Ok(json!(3)));
        let bad = json!({"spec": {"m": "x".repeat(2000)}});
        let said = e.run(&[&bad, &json!(1)], &mut fuel, false).unwrap_err();
        assert!(
            said.starts_with("no such key: n; input: self = 1, object = "),
            "{said}"
        );
        assert!(said.len() < 700, "{}", said.len());
        let said = e.run(&[&bad, &json!(1)], &mut fuel, true).unwrap_err();
        assert!(!said.contains("self = 1"), "{said}");
        assert!(Expression::compile("self +", names).is_err());
        assert!(Expression::compile("other", names).is_err());
    }

    #[test]
    fn what_costs_too_much_is_stopped() {
        let text = "self.all(a, self.all(b, self.all(c, self.all(d, a + b + c + d >= 0))))";
        let e = Expression::compile(text, &["self"]).unwrap();
        let many = Value::from((0..100).collect::<Vec<i64>>());
        let said = e.run(&[&many], &mut Fuel::default(), true).unwrap_err();
        assert!(said.contains("cost limit exceeded"), "{said}");
    }
}
