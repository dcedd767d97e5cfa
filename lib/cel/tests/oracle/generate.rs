//! Random expressions: mostly well-typed, some of them broken on purpose. One seed, one list.

/// A small generator of its own, so that a seed means the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn of<'t>(&mut self, choices: &[&'t str]) -> &'t str {
        choices[self.below(choices.len())]
    }
}

/// Templates by type: `{int}`, `{str}` ... stand for a random expression of that type, `{v}` for the
/// variable of the innermost comprehension, `{any}` for one of any type.
const INT: &[&str] = &[
    "1",
    "0",
    "-3",
    "42",
    "9223372036854775807",
    "self.spec.n",
    "self.spec.m",
    "self.spec.zero",
    "self.spec.missingInt",
    "self.spec.a__dash__b",
    "{int} + {int}",
    "{int} - {int}",
    "{int} * {int}",
    "{int} / {int}",
    "{int} % {int}",
    "-({int})",
    "size({str})",
    "{str}.size()",
    "{ints}.size()",
    "size({strs})",
    "{bool} ? {int} : {int}",
    "int({str})",
    "int({dbl})",
    "{ints}.sum()",
    "{ints}.max()",
    "{ints}.min()",
    "{ints}.indexOf({int})",
    "{ints}[{int}]",
    "{str}.indexOf({str})",
    "{str}.lastIndexOf({str})",
    "{strs}.lastIndexOf({str})",
    "self.spec.counts[{str}]",
    "self.spec.counts['one']",
    "self.spec.ports[{int}].port",
    "self.spec.ports.map(p, p.port).sum()",
    "{optint}.orValue({int})",
    "{optint}.value()",
    "int({uint})",
    "{ts}.getFullYear()",
    "{ts}.getHours('+01:00')",
    "{span}.getMinutes()",
    "self.spec.matrix[0][{int}]",
    "int(d.i)",
    "d.l[0]",
    "semver('1.2.3').minor()",
    "quantity({str}).asInteger()",
    "cidr('10.0.0.0/8').prefixLength()",
    "self.spec.port",
    "{ints}.reverse()[0]",
    "{int} in {ints} ? {int} : {int}",
];
const UINT: &[&str] = &[
    "1u",
    "uint({int})",
    "{uint} + {uint}",
    "{uint} - {uint}",
    "7u % {uint}",
];
const DBL: &[&str] = &[
    "1.5",
    "-0.25",
    "1e10",
    "self.spec.x",
    "self.spec.whole",
    "double({int})",
    "{dbl} + {dbl}",
    "{dbl} * {dbl}",
    "{dbl} / {dbl}",
    "self.spec.floats.sum()",
    "double({str})",
    "-({dbl})",
    "d.f",
    "quantity('1.5k').asApproximateFloat()",
    "self.spec.floats[{int}]",
];
const STR: &[&str] = &[
    "'a'",
    "''",
    "'http'",
    "'ü→'",
    "'10.0.0.1'",
    "'1.5Gi'",
    "'12'",
    "self.spec.s",
    "self.spec.t",
    "self.spec.e",
    "self.spec.uni",
    "self.spec.missing",
    "self.spec.nul",
    "self.metadata.name",
    "self.spec.__namespace__",
    "self.spec.c__dot__d",
    "{str} + {str}",
    "{str}.substring({int})",
    "{str}.substring({int}, {int})",
    "{str}.upperAscii()",
    "{str}.lowerAscii()",
    "{str}.trim()",
    "{str}.replace({str}, {str})",
    "{str}.charAt({int})",
    "string({int})",
    "string({dbl})",
    "string({bool})",
    "string({span})",
    "string({ts})",
    "{strs}.join({str})",
    "{strs}[{int}]",
    "{strs}.join()",
    "self.spec.labels['app']",
    "self.spec.labels[{str}]",
    "{str}.find('[a-z]+')",
    "{bool} ? {str} : {str}",
    "self.spec.ports[0].name",
    "strings.quote({str})",
    "'%s-%d'.format([{str}, {int}])",
    "self.spec.?missing.orValue({str})",
    "string(bytes({str}))",
    "{str}.replace({str}, {str}, {int})",
    "url('https://e.com/a?b=c').getHost()",
    "d.s",
    "self.spec.percent",
    "self.spec.labels.?app.orValue({str})",
];
const BOOL: &[&str] = &[
    "true",
    "false",
    "self.spec.b",
    "{int} == {int}",
    "{int} < {int}",
    "{int} >= {int}",
    "{str} == {str}",
    "{str} != {str}",
    "{str} < {str}",
    "{dbl} > {dbl}",
    "{dbl} <= {int}",
    "{uint} < {int}",
    "{bool} && {bool}",
    "{bool} || {bool}",
    "!({bool})",
    "{int} in {ints}",
    "{str} in {strs}",
    "{str} in self.spec.labels",
    "{int} in [1, 2, 3]",
    "{str} in ['a', 'be']",
    "{str}.contains({str})",
    "{str}.startsWith({str})",
    "{str}.endsWith({str})",
    "{str}.matches('^[a-z]+$')",
    "{str}.matches({str})",
    "has(self.spec.missing)",
    "has(self.spec.s)",
    "has(self.spec.nul)",
    "has(d.x)",
    "has(d.m.k)",
    "{ints}.all(v, {boolv})",
    "{ints}.exists(v, {boolv})",
    "{ints}.exists_one(v, {boolv})",
    "{ints}.all(i, v, i < v || {boolv})",
    "{strs}.all(w, w.size() < {int})",
    "self.spec.labels.all(k, self.spec.labels[k] != {str})",
    "{ints} == {ints}",
    "self.spec.labels.exists(k, v, k == {str} || v == {str})",
    "{strs} == {strs}",
    "self.spec.set == self.spec.set2",
    "self.spec.ports == self.spec.ports2",
    "{ints}.isSorted()",
    "{strs}.isSorted()",
    "sets.contains({ints}, {ints})",
    "sets.equivalent({strs}, {strs})",
    "sets.intersects({ints}, {ints})",
    "{ts} < {ts}",
    "{span} == {span}",
    "{any} == {any}",
    "d.i == {int}",
    "d.l[{int}] == {any}",
    "isIP({str})",
    "isQuantity({str})",
    "isURL({str})",
    "ip('10.0.0.1').isLoopback()",
    "{optint}.hasValue()",
    "cidr('10.0.0.0/8').containsIP({str})",
    "{bool} ? {bool} : {bool}",
    "type({any}) == int",
    "quantity('1Gi') == quantity({str})",
    "self.spec == self.spec",
    "oldSelf.hasValue()",
    "oldSelf.?spec.?n.orValue(0) == {int}",
    "self.spec.ports.exists(p, p.port > {int})",
    "self.spec.ports.all(p, has(p.protocol) && p.protocol == {str})",
    "bool({str})",
    "self.spec.ports.exists(p, p.protocol == {str})",
    "{int} == {dbl}",
    "isSemver({str})",
    "self.spec.nested.all(k, self.spec.nested[k].all(v, {boolv}))",
    "self.spec.matrix.exists(r, r.exists(v, {boolv}))",
    "dyn({any}) == dyn({any})",
];
const BOOLV: &[&str] = &[
    "v > {int}",
    "v == {int}",
    "v != 2",
    "v in {ints}",
    "v % 2 == 0",
    "{bool}",
];
const INTS: &[&str] = &[
    "[]",
    "[1, 2, 3]",
    "[{int}, {int}]",
    "self.spec.ints",
    "self.spec.empty",
    "{ints} + {ints}",
    "{ints}.map(v, v + {int})",
    "{ints}.filter(v, {boolv})",
    "{ints}.map(v, {boolv}, v * 2)",
    "{ints}.map(i, v, i + v)",
    "{ints}.transformList(i, v, i + v)",
    "{ints}.sort()",
    "{ints}.distinct()",
    "{ints}.reverse()",
    "{ints}.slice({int}, {int})",
    "lists.range(4)",
    "self.spec.matrix.flatten()",
    "{ints}.sortBy(v, -v)",
    "self.spec.nested['a']",
    "self.spec.ports.map(p, p.port)",
    "{bool} ? {ints} : {ints}",
    "{strs}.map(w, w.size())",
    "self.spec.counts.map(k, self.spec.counts[k])",
    "self.spec.matrix[{int}]",
    "d.l",
    "[?self.spec.?missingInt, {int}]",
    "[{optint}].unwrapOpt()",
];
const STRS: &[&str] = &[
    "['a', 'b']",
    "[{str}]",
    "self.spec.names",
    "self.spec.many",
    "self.spec.set",
    "{str}.split({str})",
    "{str}.split(',', {int})",
    "{strs} + {strs}",
    "{strs}.filter(w, w != {str})",
    "{strs}.map(w, w + {str})",
    "self.spec.labels.map(k, k)",
    "{str}.findAll('[a-z]')",
    "self.spec.ports.map(p, p.name)",
    "{strs}.sort()",
    "{strs}.distinct()",
    "{strs}.reverse()",
    "self.spec.labels.transformList(k, v, k + v)",
    "{strs}.sortBy(w, w.size())",
];
const OPTINT: &[&str] = &[
    "optional.of({int})",
    "optional.none()",
    "self.spec.?n",
    "self.spec.?missingInt",
    "{ints}[?{int}]",
    "self.spec.counts[?{str}]",
    "{ints}.first()",
    "{ints}.last()",
    "{optint}.or({optint})",
    "{optint}.optMap(o, o + {int})",
    "{optint}.optFlatMap(o, {ints}[?o])",
    "optional.ofNonZeroValue({int})",
    "oldSelf.?spec.?n",
    "oldSelf.?spec.n",
    "d.?i",
];
const TS: &[&str] = &[
    "timestamp('2024-01-01T00:00:00Z')",
    "self.spec.when",
    "self.spec.day",
    "{ts} + {span}",
    "{ts} - {span}",
    "timestamp({int})",
    "self.spec.dates[{int}]",
    "self.spec.dates.max()",
];
const SPAN: &[&str] = &[
    "duration('1h')",
    "duration('-90s')",
    "self.spec.span",
    "{span} + {span}",
    "{ts} - {ts}",
    "-({span})",
];
const ANY: &[&str] = &[
    "{int}",
    "{str}",
    "{bool}",
    "{dbl}",
    "{ints}",
    "{strs}",
    "{ts}",
    "{span}",
    "{uint}",
    "null",
    "self.spec.port",
    "self.spec.labels",
    "self.spec.ports[0]",
    "self.spec",
    "self.spec.open",
    "{'a': {int}}",
    "d",
    "d.l",
    "d.m",
    "d.n",
    "{optint}",
    "bytes({str})",
    "self.spec.raw",
    "self.spec.labels.transformMap(k, v, k + v)",
    "{ints}.transformMap(i, v, v + 1)",
    "{{str}: {int}, 'b': 2}",
    "type({any})",
    "{'k': {ints}}",
    "quantity({str})",
    "ip('::1')",
    "self.spec.labels.transformMapEntry(k, v, {v: k})",
    "self.spec.ports + self.spec.ports2",
    "self.spec.set + {strs}",
    "self.spec.names + self.spec.set",
    "self.spec.tmpl",
    "[[1], [2]]",
    "self.spec.dates + self.spec.dates",
    "{'a': 1, 'b': {'c': {str}}}.b",
    "url({str})",
    "format.dns1123Label().validate({str})",
    "self.spec.floats",
    "{any}",
    "[{any}]",
];

fn templates(name: &str) -> Option<&'static [&'static str]> {
    Some(match name {
        "int" => INT,
        "uint" => UINT,
        "dbl" => DBL,
        "str" => STR,
        "bool" => BOOL,
        "boolv" => BOOLV,
        "ints" => INTS,
        "strs" => STRS,
        "optint" => OPTINT,
        "ts" => TS,
        "span" => SPAN,
        "any" => ANY,
        _ => return None,
    })
}

fn expand(random: &mut Random, name: &str, depth: u32) -> String {
    let Some(templates) = templates(name) else {
        return format!("{{{name}}}");
    };
    let mut template = random.of(templates);
    // Near the bottom only what needs nothing below it.
    while depth == 0 && template.contains('{') && template != "{}" {
        template = random.of(templates);
        if random.below(40) == 0 {
            break;
        }
    }
    let mut out = String::new();
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        out.push_str(&rest[..open]);
        rest = &rest[open..];
        let hole = rest.find('}').map(|end| (&rest[1..end], &rest[end + 1..]));
        match hole.filter(|(name, _)| self::templates(name).is_some()) {
            Some((name, tail)) => {
                let part = expand(random, name, depth.saturating_sub(1));
                let simple = part
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '_');
                let whole = simple && !part.starts_with(|c: char| c.is_ascii_digit());
                out.push_str(&if whole { part } else { format!("({part})") });
                rest = tail;
            }
            None => {
                out.push('{');
                rest = &rest[1..];
            }
        }
    }
    out + rest
}

/// Damages an expression a little.
fn mutate(random: &mut Random, text: &str) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..=random.below(2) {
        let at = random.below(chars.len().max(1)).min(chars.len());
        match random.below(4) {
            0 if at < chars.len() => {
                chars.remove(at);
            }
            1 => {
                let extra =
                    random.of(&["(", ")", ".", "x", "1", "'", "?", "!", " ", "u", "[", "+"]);
                chars.splice(at..at, extra.chars());
            }
            2 if at + 1 < chars.len() => chars.swap(at, at + 1),
            _ => {
                let word =
                    random.of(&["self.spec.nope", "foo()", "size", "{}", "null", "int", "1u"]);
                chars.splice(at..at, word.chars());
            }
        }
    }
    chars.into_iter().collect()
}

/// `count` expressions for a seed.
pub fn expressions(seed: u64, count: usize) -> Vec<String> {
    let mut random = Random(seed);
    let mut out = Vec::with_capacity(count);
    while out.len() < count {
        let kind = random.of(&[
            "bool", "bool", "bool", "int", "str", "ints", "strs", "any", "dbl",
        ]);
        let depth = random.below(4) as u32;
        let mut text = expand(&mut random, kind, depth);
        if random.below(8) == 0 {
            text = mutate(&mut random, &text);
        }
        if text.len() < 2000 {
            out.push(text);
        }
    }
    out
}
