//! From tokens to a syntax tree, macros expanded.
//!
//! Start at [`parse`]. A hand-written precedence parser over CEL's grammar; the node that an error
//! is reported at carries the position of the token that cel-go uses (the operator, the opening
//! parenthesis of a call), because clients see it. Parsing stops at the first syntax error; errors
//! that leave the grammar intact (bad literals, bad macro arguments, reserved words) are collected.

use crate::ast::{Entry, Expr, Id, Kind, Literal, op};
use crate::issue::{CompileError, Issues, Source};
use crate::lexer::{self, Tok, Token};
use crate::limits;
use crate::macros::{self, MacroSet};
use crate::syntax::Around;
use std::sync::Arc;

/// What the parser hands on: the tree and the position of every node.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) root: Expr,
    pub(crate) positions: Vec<u32>,
}

/// A syntax error was reported; there is nothing to continue with.
pub(crate) struct Abort;

pub(crate) type Parse<T> = Result<T, Abort>;

const RESERVED: [&str; 21] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "package",
    "namespace",
    "null",
    "return",
    "true",
    "var",
    "void",
    "while",
];

/// What a message's fields may begin with.
const NAME: &str = "{IDENTIFIER, ESC_IDENTIFIER}";
/// The same with all else that may stand there.
const FIELD_START: &str = "{'}', ',', '?', IDENTIFIER, ESC_IDENTIFIER}";

#[derive(Clone, Copy)]
enum Rule {
    Expr,
    Relation,
    Calc,
    Member,
}

pub(crate) struct Parser<'s> {
    pub(crate) source: &'s Source,
    pub(crate) tokens: Vec<Token>,
    pub(crate) at: usize,
    positions: Vec<u32>,
    depths: Vec<u32>,
    rules: [u32; 4],
    pub(crate) around: Vec<Around>,
    pub(crate) issues: Issues,
    macros: MacroSet,
}

/// Parses `source` with the macros of an environment.
pub(crate) fn parse(source: &Source, macros: MacroSet) -> Result<Parsed, CompileError> {
    let mut issues = Issues::default();
    if source.chars.len() > limits::EXPRESSION_CODE_POINTS {
        let text = format!(
            "expression code point size exceeds limit: size: {}, limit {}",
            source.chars.len(),
            limits::EXPRESSION_CODE_POINTS
        );
        issues.report(None, text);
        return Err(issues.into_error(source));
    }
    let tokens = lexer::tokens(source, &mut issues);
    let mut parser = Parser {
        source,
        tokens,
        at: 0,
        positions: Vec::new(),
        depths: Vec::new(),
        rules: [0; 4],
        around: Vec::new(),
        issues,
        macros,
    };
    let root = parser.start();
    match root {
        Ok(root) if parser.issues.is_empty() => Ok(Parsed {
            root,
            positions: parser.positions,
        }),
        _ => Err(parser.issues.into_error(source)),
    }
}

impl Parser<'_> {
    fn start(&mut self) -> Parse<Expr> {
        let root = self.expr()?;
        if self.peek().kind == Tok::Eof {
            return Ok(root);
        }
        let text = self.shown(self.peek());
        let what = if self.tokens[self.at + 1].kind == Tok::Eof {
            format!("extraneous input '{text}' expecting <EOF>")
        } else {
            format!("mismatched input '{text}' expecting <EOF>")
        };
        Err(self.syntax_error(self.peek(), &what))
    }

    // === nodes ===

    pub(crate) fn id_at(&mut self, offset: u32) -> Id {
        self.positions.push(offset);
        self.depths.push(0);
        self.positions.len() as Id - 1
    }

    /// A new node at the place of another one, as macros make them.
    pub(crate) fn id_like(&mut self, id: Id) -> Id {
        let offset = self.positions[id as usize];
        self.id_at(offset)
    }

    pub(crate) fn too_large(&self) -> bool {
        self.positions.len() > limits::NODES
    }

    fn node(&mut self, offset: u32, kind: Kind) -> Expr {
        let id = self.id_at(offset);
        self.finish(id, kind, 0)
    }

    /// Completes a node: its depth is that of its deepest child, plus `own`.
    fn finish(&mut self, id: Id, kind: Kind, own: u32) -> Expr {
        let expr = Expr { id, kind };
        let mut deepest = 0;
        expr.children(&mut |c| deepest = deepest.max(self.depths[c.id as usize]));
        self.depths[id as usize] = deepest + own;
        expr
    }

    fn counted(&mut self, id: Id, kind: Kind) -> Parse<Expr> {
        let expr = self.finish(id, kind, 1);
        if self.depths[id as usize] > limits::RECURSION {
            self.issues.report(None, "max recursion depth exceeded");
            return Err(Abort);
        }
        Ok(expr)
    }

    pub(crate) fn error_at(&mut self, id: Id, message: impl Into<String>) -> Expr {
        let offset = self.positions[id as usize];
        self.issues
            .report(Some(self.source.location(offset)), message);
        self.node(offset, Kind::Unspecified)
    }

    pub(crate) fn error_token(&mut self, token: Token, message: impl Into<String>) -> Expr {
        self.issues
            .report(Some(self.source.location(token.start)), message);
        self.node(token.start, Kind::Unspecified)
    }

    // === tokens ===

    pub(crate) fn peek(&self) -> Token {
        self.tokens[self.at]
    }

    pub(crate) fn peek_at(&self, ahead: usize) -> Tok {
        self.tokens
            .get(self.at + ahead)
            .map_or(Tok::Eof, |t| t.kind)
    }

    fn next(&mut self) -> Token {
        let token = self.tokens[self.at];
        if token.kind != Tok::Eof {
            self.at += 1;
        }
        token
    }

    pub(crate) fn take(&mut self, punct: &str) -> Option<Token> {
        let token = self.peek();
        matches!(token.kind, Tok::Punct(p) if p == punct).then(|| self.next())
    }

    /// An expression within something.
    fn inner(&mut self, around: Around) -> Parse<Expr> {
        self.around.push(around);
        let expr = self.expr();
        self.around.pop();
        expr
    }

    fn text(&self, token: Token) -> String {
        self.source.chars[token.start as usize..token.end as usize]
            .iter()
            .collect()
    }

    pub(crate) fn shown(&self, token: Token) -> String {
        match token.kind {
            Tok::Eof => "<EOF>".into(),
            _ => lexer::shown(&self.text(token)),
        }
    }

    fn enter(&mut self, rule: Rule) -> Parse<()> {
        let depth = &mut self.rules[rule as usize];
        *depth += 1;
        if *depth <= limits::RECURSION {
            return Ok(());
        }
        let text = format!("expression recursion limit exceeded: {}", limits::RECURSION);
        self.issues.report(None, text);
        Err(Abort)
    }

    // === grammar ===

    fn expr(&mut self) -> Parse<Expr> {
        self.enter(Rule::Expr)?;
        let condition = self.logical(op::OR)?;
        let expr = match self.take("?") {
            None => condition,
            Some(question) => {
                let id = self.id_at(question.start);
                self.around.push(Around::Choice);
                let yes = self.logical(op::OR);
                self.around.pop();
                let yes = yes?;
                self.expect(":", "':'")?;
                let no = self.expr()?;
                let args = vec![condition, yes, no];
                self.counted(id, call(op::CONDITIONAL, args))?
            }
        };
        self.rules[Rule::Expr as usize] -= 1;
        Ok(expr)
    }

    /// A chain of `||` or of `&&`, as a balanced tree.
    fn logical(&mut self, function: &'static str) -> Parse<Expr> {
        let is_or = function == op::OR;
        let mut terms = Vec::new();
        let mut ops = Vec::new();
        loop {
            let term = if is_or {
                self.logical(op::AND)?
            } else {
                self.relation()?
            };
            terms.push(Some(term));
            match self.take(if is_or { "||" } else { "&&" }) {
                Some(token) => ops.push(self.id_at(token.start)),
                None => break,
            }
        }
        if ops.is_empty() {
            return terms.pop().flatten().ok_or(Abort);
        }
        self.balance(function, &mut terms, &ops, 0, ops.len() - 1)
    }

    fn balance(
        &mut self,
        function: &'static str,
        terms: &mut [Option<Expr>],
        ops: &[Id],
        low: usize,
        high: usize,
    ) -> Parse<Expr> {
        let middle = (low + high).div_ceil(2);
        let left = if middle == low {
            terms[middle].take().ok_or(Abort)?
        } else {
            self.balance(function, terms, ops, low, middle - 1)?
        };
        let right = if middle == high {
            terms[middle + 1].take().ok_or(Abort)?
        } else {
            self.balance(function, terms, ops, middle + 1, high)?
        };
        Ok(self.finish(ops[middle], call(function, vec![left, right]), 0))
    }

    fn relation(&mut self) -> Parse<Expr> {
        let before = self.rules[Rule::Relation as usize];
        self.enter(Rule::Relation)?;
        let mut left = self.calc(0)?;
        while let Some(function) = relation_operator(self.peek().kind) {
            self.enter(Rule::Relation)?;
            let token = self.next();
            let id = self.id_at(token.start);
            let right = self.calc(0)?;
            left = self.counted(id, call(function, vec![left, right]))?;
        }
        self.rules[Rule::Relation as usize] = before;
        Ok(left)
    }

    fn calc(&mut self, minimum: u8) -> Parse<Expr> {
        let before = self.rules[Rule::Calc as usize];
        self.enter(Rule::Calc)?;
        let mut left = self.unary()?;
        while let Some((function, precedence)) = calc_operator(self.peek().kind) {
            if precedence < minimum {
                break;
            }
            self.enter(Rule::Calc)?;
            let token = self.next();
            let id = self.id_at(token.start);
            let right = self.calc(precedence + 1)?;
            left = self.counted(id, call(function, vec![left, right]))?;
        }
        self.rules[Rule::Calc as usize] = before;
        Ok(left)
    }

    fn unary(&mut self) -> Parse<Expr> {
        let first = self.peek();
        let (sign, function) = match first.kind {
            Tok::Punct("!") => ("!", op::NOT),
            Tok::Punct("-") => ("-", op::NEGATE),
            _ => return self.member(),
        };
        let signed = matches!(self.peek_at(1), Tok::Int | Tok::Double);
        if sign == "-" && signed {
            return self.member();
        }
        let mut count = 0;
        while self.take(sign).is_some() {
            count += 1;
        }
        if sign == "-" && self.peek().kind == Tok::Punct("!") {
            let next = self.peek();
            let what = self.no_alternative(self.tokens[self.at - 1], next);
            return Err(self.syntax_error(next, &what));
        }
        if count % 2 == 0 {
            return self.member();
        }
        let id = self.id_at(first.start);
        let operand = self.member()?;
        Ok(self.finish(id, call(function, vec![operand]), 0))
    }

    fn member(&mut self) -> Parse<Expr> {
        let before = self.rules[Rule::Member as usize];
        self.enter(Rule::Member)?;
        let mut left = self.primary()?;
        loop {
            if matches!(self.peek().kind, Tok::Punct("." | "[")) {
                self.enter(Rule::Member)?;
            }
            if let Some(dot) = self.take(".") {
                left = self.selection(left, dot)?;
            } else if let Some(open) = self.take("[") {
                let id = self.id_at(open.start);
                let function = if self.take("?").is_some() {
                    op::OPT_INDEX
                } else {
                    op::INDEX
                };
                self.check_start(if function == op::INDEX { &["?"] } else { &[] })?;
                let index = self.inner(Around::Index)?;
                self.expect("]", "']'")?;
                left = self.counted(id, call(function, vec![left, index]))?;
            } else {
                break;
            }
        }
        self.rules[Rule::Member as usize] = before;
        Ok(left)
    }

    fn selection(&mut self, operand: Expr, dot: Token) -> Parse<Expr> {
        let optional = self.take("?").is_some();
        let token = self.next();
        match token.kind {
            Tok::Ident => {}
            Tok::EscapedIdent => {
                self.error_token(token, "unsupported syntax: '`'");
            }
            _ => return Err(self.bad_field(dot, token, optional)),
        }
        let name: Arc<str> = self.text(token).into();
        if !optional && token.kind == Tok::Ident && self.peek().kind == Tok::Punct("(") {
            let open = self.next();
            let id = self.id_at(open.start);
            let args = self.arguments()?;
            return self.make_call(id, Some(operand), &name, args);
        }
        if optional {
            let id = self.id_at(dot.start);
            let field = self.node(token.start, Kind::Literal(Literal::String(name)));
            return Ok(self.finish(id, call(op::OPT_SELECT, vec![operand, field]), 0));
        }
        let id = self.id_at(dot.start);
        let kind = Kind::Select {
            operand: Box::new(operand),
            field: name,
            test_only: false,
        };
        self.counted(id, kind)
    }

    fn arguments(&mut self) -> Parse<Vec<Expr>> {
        let mut args = Vec::new();
        if self.take(")").is_some() {
            return Ok(args);
        }
        self.check_start(&[")"])?;
        if self.take(")").is_some() {
            return Ok(args);
        }
        loop {
            args.push(self.inner(Around::Arguments)?);
            if self.take(",").is_none() {
                self.expect(")", "')'")?;
                return Ok(args);
            }
        }
    }

    /// A call, unless a macro of that name and number of arguments takes it over.
    fn make_call(
        &mut self,
        id: Id,
        target: Option<Expr>,
        name: &Arc<str>,
        args: Vec<Expr>,
    ) -> Parse<Expr> {
        let member = target.is_some();
        let deepest = args
            .iter()
            .chain(&target)
            .map(|e| self.depths[e.id as usize])
            .max();
        let found = macros::find(self.macros, name, args.len(), member);
        let (expr, id) = match found {
            Some(expand) => {
                let expanded = expand(self, id, target, args);
                if self.too_large() {
                    self.issues
                        .report(None, "expression is too large after macro expansion");
                    return Err(Abort);
                }
                let expr = expanded.unwrap_or_else(|e| self.error_at(e.at, e.message));
                let id = expr.id;
                (expr, id)
            }
            None => {
                let target = target.map(Box::new);
                let kind = Kind::Call {
                    target,
                    function: name.clone(),
                    args,
                };
                (Expr { id, kind }, id)
            }
        };
        self.depths[id as usize] = deepest.unwrap_or(0) + u32::from(member);
        if self.depths[id as usize] > limits::RECURSION {
            self.issues.report(None, "max recursion depth exceeded");
            return Err(Abort);
        }
        Ok(expr)
    }

    fn primary(&mut self) -> Parse<Expr> {
        self.check_start(&[])?;
        let token = self.next();
        match token.kind {
            Tok::Punct("(") => {
                let inner = self.inner(Around::Group)?;
                self.expect(")", "')'")?;
                Ok(inner)
            }
            Tok::Punct("[") => self.list(token),
            Tok::Punct("{") => self.map(token),
            Tok::Punct(".") if self.peek().kind == Tok::Ident => {
                let name = self.next();
                self.name(name, Some(token))
            }
            Tok::Ident => self.name(token, None),
            Tok::Punct("-") if matches!(self.peek().kind, Tok::Int | Tok::Double) => {
                let number = self.next();
                Ok(self.number(token, number, true))
            }
            Tok::Int | Tok::Uint | Tok::Double => Ok(self.number(token, token, false)),
            Tok::String | Tok::Bytes => Ok(self.string(token)),
            Tok::True => Ok(self.node(token.start, Kind::Literal(Literal::Bool(true)))),
            Tok::False => Ok(self.node(token.start, Kind::Literal(Literal::Bool(false)))),
            Tok::Null => Ok(self.node(token.start, Kind::Literal(Literal::Null))),
            _ => {
                let next = self.peek();
                let what = self.dotted(token, next);
                Err(self.syntax_error(next, &what))
            }
        }
    }

    /// An identifier, a call of a global function, or a message.
    fn name(&mut self, token: Token, leading_dot: Option<Token>) -> Parse<Expr> {
        if let Some(expr) = self.message(token, leading_dot)? {
            return Ok(expr);
        }
        let text = self.text(token);
        let reserved = RESERVED.contains(&text.as_str());
        let start = leading_dot.unwrap_or(token);
        let name: Arc<str> = match leading_dot {
            Some(_) => format!(".{text}").into(),
            None => text.as_str().into(),
        };
        if self.peek().kind == Tok::Punct("(") {
            let open = self.next();
            if reserved {
                self.error_token(start, format!("reserved identifier: {text}"));
            }
            let id = self.id_at(open.start);
            let args = self.arguments()?;
            return self.make_call(id, None, &name, args);
        }
        if reserved {
            return Ok(self.error_token(start, format!("reserved identifier: {text}")));
        }
        Ok(self.node(token.start, Kind::Ident(name)))
    }

    fn message(&mut self, token: Token, leading_dot: Option<Token>) -> Parse<Option<Expr>> {
        let mut ahead = 0;
        while self.peek_at(ahead) == Tok::Punct(".") && self.peek_at(ahead + 1) == Tok::Ident {
            ahead += 2;
        }
        if self.peek_at(ahead) != Tok::Punct("{") {
            return Ok(None);
        }
        let mut name = if leading_dot.is_some() {
            ".".to_owned()
        } else {
            String::new()
        };
        name.push_str(&self.text(token));
        for _ in 0..ahead / 2 {
            self.next();
            let part = self.next();
            name.push('.');
            name.push_str(&self.text(part));
        }
        let open = self.next();
        let id = self.id_at(open.start);
        let mut fields = Vec::new();
        while self.peek().kind != Tok::Punct("}") {
            let mark = self.take("?");
            let field = self.next();
            if field.kind != Tok::Ident {
                let text = self.shown(field);
                let (expecting, fits) = match self.peek().kind {
                    next if mark.is_some() => {
                        (NAME, matches!(next, Tok::Ident | Tok::EscapedIdent))
                    }
                    Tok::Ident | Tok::Punct("}" | "," | "?") => (FIELD_START, true),
                    _ => (FIELD_START, false),
                };
                let fits = fits && field.kind != Tok::Eof;
                // The original goes on where a colon follows, with a field that has no name.
                let goes_on = self.peek().kind == Tok::Punct(":");
                if let Some(mark) = mark.filter(|_| goes_on) {
                    self.error_token(mark, "unsupported ident kind");
                }
                let what = if fits { "extraneous" } else { "mismatched" };
                let what = format!("{what} input '{text}' expecting {expecting}");
                return Err(self.syntax_error(field, &what));
            }
            self.expect(":", "':'")?;
            fields.push(self.inner(Around::Entry)?);
            if self.take(",").is_none() {
                break;
            }
        }
        self.expect("}", "{'}', ','}")?;
        let kind = Kind::Struct {
            name: name.into(),
            fields,
        };
        Ok(Some(self.finish(id, kind, 0)))
    }

    fn list(&mut self, open: Token) -> Parse<Expr> {
        let id = self.id_at(open.start);
        let (mut elements, mut optional) = (Vec::new(), Vec::new());
        let mut expecting = "']'";
        while self.peek().kind != Tok::Punct("]") {
            if elements.is_empty() {
                if self.take(",").is_some() {
                    break;
                }
                self.check_first(&["]", ",", "?"])?;
            } else if !self.another() {
                break;
            }
            optional.push(self.take("?").is_some());
            elements.push(self.inner(Around::List)?);
            if !self.comma("]", "{']', ','}") {
                expecting = "{']', ','}";
                break;
            }
        }
        self.expect("]", expecting)?;
        Ok(self.finish(id, Kind::List { elements, optional }, 0))
    }

    fn map(&mut self, open: Token) -> Parse<Expr> {
        let id = self.id_at(open.start);
        let mut entries = Vec::new();
        let mut expecting = "'}'";
        while self.peek().kind != Tok::Punct("}") {
            if entries.is_empty() {
                if self.take(",").is_some() {
                    break;
                }
                self.check_first(&["}", ",", "?"])?;
            } else if !self.another() {
                break;
            }
            let optional = self.take("?").is_some();
            let key = self.inner(Around::Key)?;
            self.expect(":", "':'")?;
            let value = self.inner(Around::Entry)?;
            entries.push(Entry {
                key,
                value,
                optional,
            });
            if !self.comma("}", "{'}', ','}") {
                expecting = "{'}', ','}";
                break;
            }
        }
        self.expect("}", expecting)?;
        Ok(self.finish(id, Kind::Map(entries), 0))
    }

    fn number(&mut self, start: Token, token: Token, negative: bool) -> Expr {
        let text = self.text(token);
        let sign = if negative { "-" } else { "" };
        let (digits, radix) = match text.strip_prefix("0x") {
            Some(hex) => (hex, 16),
            None => (text.as_str(), 10),
        };
        let literal = match token.kind {
            Tok::Int => i64::from_str_radix(&format!("{sign}{digits}"), radix)
                .map(Literal::Int)
                .map_err(|_| "invalid int literal"),
            Tok::Uint => u64::from_str_radix(&digits[..digits.len() - 1], radix)
                .map(Literal::Uint)
                .map_err(|_| "invalid uint literal"),
            _ => format!("{sign}{text}")
                .parse::<f64>()
                .ok()
                .filter(|d| d.is_finite())
                .map(Literal::Double)
                .ok_or("invalid double literal"),
        };
        match literal {
            Ok(literal) => self.node(start.start, Kind::Literal(literal)),
            Err(message) => self.error_token(start, message),
        }
    }

    fn string(&mut self, token: Token) -> Expr {
        let text = self.text(token);
        let is_bytes = token.kind == Tok::Bytes;
        let body = if is_bytes { &text[1..] } else { &text };
        let literal = lexer::unescape(body, is_bytes).and_then(|bytes| {
            if is_bytes {
                return Ok(Literal::Bytes(bytes.into()));
            }
            let text = String::from_utf8(bytes).map_err(|_| "unable to unescape string")?;
            Ok(Literal::String(text.into()))
        });
        match literal {
            Ok(literal) => self.node(token.start, Kind::Literal(literal)),
            Err(message) => self.error_token(token, message),
        }
    }
}

pub(crate) fn call(function: &str, args: Vec<Expr>) -> Kind {
    Kind::Call {
        target: None,
        function: function.into(),
        args,
    }
}

pub(crate) fn relation_operator(kind: Tok) -> Option<&'static str> {
    Some(match kind {
        Tok::In => "@in",
        Tok::Punct("<") => "_<_",
        Tok::Punct("<=") => "_<=_",
        Tok::Punct(">=") => "_>=_",
        Tok::Punct(">") => "_>_",
        Tok::Punct("==") => op::EQUALS,
        Tok::Punct("!=") => op::NOT_EQUALS,
        _ => return None,
    })
}

pub(crate) fn calc_operator(kind: Tok) -> Option<(&'static str, u8)> {
    Some(match kind {
        Tok::Punct("*") => ("_*_", 1),
        Tok::Punct("/") => ("_/_", 1),
        Tok::Punct("%") => ("_%_", 1),
        Tok::Punct("+") => (op::ADD, 0),
        Tok::Punct("-") => ("_-_", 0),
        _ => return None,
    })
}
