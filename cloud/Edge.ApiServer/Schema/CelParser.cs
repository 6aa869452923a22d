namespace Edge.ApiServer.Schema;

/// <summary>A compiled expression.</summary>
internal sealed record CelProgram(Func<CelScope, object?> Run, CelType Type, bool UsesOldSelf);

/// <summary>Compiles the subset of CEL that this API evaluates: field access, comparison, logic, arithmetic, ternary, list literals, <c>in</c>,
/// has, size, matches, startsWith, endsWith, contains, all, exists, exists_one, filter, map and the conversions int, double, string.
/// Anything else throws <see cref="CelException"/>, so that no rule is silently left out.</summary>
internal sealed partial class CelParser
{
    public const int LengthMax = 8192;
    private const int DepthMax = 64;

    private readonly List<CelToken> _tokens;
    private readonly Dictionary<string, CelType> _variables;
    private int _at;
    private int _depth;
    private bool _usesOldSelf;

    private CelParser(string text, Dictionary<string, CelType> variables)
    {
        _tokens = CelLexer.Split(text);
        _variables = variables;
    }

    private delegate object? Code(CelScope scope);

    private CelToken Current => _tokens[_at];

    /// <summary><paramref name="self"/> is the schema of the value that the rule stands at.</summary>
    public static CelProgram Compile(string text, SchemaNode self)
    {
        if (text.Length > LengthMax)
            throw new CelException($"the rule is longer than {LengthMax} characters");
        var type = CelType.Of(self) ?? throw new CelException($"rules on values of format {self.Format} are not supported");
        var parser = new CelParser(text, new() { ["self"] = type, ["oldSelf"] = type });
        var (code, result) = parser.Expression();
        if (parser.Current.Kind != CelTokenKind.End)
            throw parser.Unexpected();
        return new CelProgram(scope => code(scope), result, parser._usesOldSelf);
    }

    private (Code Code, CelType Type) Expression()
    {
        if (++_depth > DepthMax)
            throw new CelException($"the expression is nested deeper than {DepthMax}");
        var (condition, type) = Or();
        if (Take("?"))
        {
            Expect(type, CelKind.Bool, "the condition of ?:");
            var (then, thenType) = Or();
            Need(":");
            var (otherwise, otherwiseType) = Expression();
            var test = condition;
            if (thenType.Kind != otherwiseType.Kind && thenType.Kind != CelKind.Dyn && otherwiseType.Kind != CelKind.Dyn)
                throw NoOverload("'_?_:_'", thenType, otherwiseType);
            (condition, type) = (scope => CelValues.Truth(test(scope)) ? then(scope) : otherwise(scope), thenType.Kind == CelKind.Dyn ? otherwiseType : thenType);
        }

        _depth--;
        return (condition, type);
    }

    private (Code Code, CelType Type) Or() => Logic("||", And, stopsAt: true);

    private (Code Code, CelType Type) And() => Logic("&&", Relation, stopsAt: false);

    /// <summary>CEL's logic takes either order: an operand that fails does not matter when the other one decides.</summary>
    private (Code Code, CelType Type) Logic(string op, Func<(Code Code, CelType Type)> operand, bool stopsAt)
    {
        var (left, type) = operand();
        while (Take(op))
        {
            var (right, rightType) = operand();
            Expect(type, CelKind.Bool, $"'_{op}_'");
            Expect(rightType, CelKind.Bool, $"'_{op}_'");
            var first = left;
            left = scope =>
            {
                bool decided;
                try
                {
                    decided = CelValues.Truth(first(scope)) == stopsAt;
                }
                catch (CelException) when (Decides(right, scope))
                {
                    return stopsAt;
                }

                return decided ? stopsAt : CelValues.Truth(right(scope));
            };
            type = CelType.Bool;
        }

        return (left, type);

        bool Decides(Code right, CelScope scope)
        {
            try
            {
                return CelValues.Truth(right(scope)) == stopsAt;
            }
            catch (CelException)
            {
                return false;
            }
        }
    }

    private (Code Code, CelType Type) Relation()
    {
        var (left, type) = Sum();
        while (Current.Kind == CelTokenKind.Operator && Current.Text is "==" or "!=" or "<" or "<=" or ">" or ">=" || Current is { Kind: CelTokenKind.Identifier, Text: "in" })
        {
            var op = _tokens[_at++].Text;
            var (right, rightType) = Sum();
            var first = left;
            if (op == "in" ? rightType.Kind is not (CelKind.Dyn or CelKind.List or CelKind.Map) : !Comparable(type, rightType, op is "==" or "!="))
                throw NoOverload($"'_{op}_'", type, rightType);
            left = op switch
            {
                "in" => scope => CelValues.In(first(scope), right(scope)),
                "==" => scope => CelValues.Same(first(scope), right(scope)),
                "!=" => scope => !CelValues.Same(first(scope), right(scope)),
                "<" => scope => CelValues.Compare(first(scope), right(scope)) < 0,
                "<=" => scope => CelValues.Compare(first(scope), right(scope)) <= 0,
                ">" => scope => CelValues.Compare(first(scope), right(scope)) > 0,
                _ => scope => CelValues.Compare(first(scope), right(scope)) >= 0,
            };
            type = CelType.Bool;
        }

        return (left, type);
    }

    private (Code Code, CelType Type) Sum() => Arithmetic(Product, "+", "-");

    private (Code Code, CelType Type) Product() => Arithmetic(Unary, "*", "/", "%");

    private (Code Code, CelType Type) Arithmetic(Func<(Code Code, CelType Type)> operand, params string[] operators)
    {
        var (left, type) = operand();
        while (Current.Kind == CelTokenKind.Operator && operators.Contains(Current.Text))
        {
            var op = _tokens[_at++].Text[0];
            var (right, rightType) = operand();
            var known = type.Kind != CelKind.Dyn && rightType.Kind != CelKind.Dyn;
            var allowed = type.Kind is CelKind.Int || (type.Kind == CelKind.Double && op != '%') || (type.Kind is CelKind.String or CelKind.List && op == '+');
            if (known && (type.Kind != rightType.Kind || !allowed))
                throw NoOverload($"'_{op}_'", type, rightType);
            var first = left;
            left = scope => CelValues.Arithmetic(op, first(scope), right(scope));
            type = type.Kind == CelKind.Dyn ? rightType : type;
        }

        return (left, type);
    }

    private (Code Code, CelType Type) Unary()
    {
        if (Current is not { Kind: CelTokenKind.Operator, Text: "!" or "-" })
            return Member();
        if (++_depth > DepthMax)
            throw new CelException($"the expression is nested deeper than {DepthMax}");
        var op = _tokens[_at++].Text;
        var (code, type) = Unary();
        _depth--;
        if (op == "!")
        {
            Expect(type, CelKind.Bool, "'!_'");
            return (scope => !CelValues.Truth(code(scope)), CelType.Bool);
        }

        if (type.Kind is not (CelKind.Dyn or CelKind.Int or CelKind.Double))
            throw new CelException($"found no matching overload for '-_' applied to '({type.Name})'");
        return (scope => CelValues.Negate(code(scope)), type);
    }

    private static bool Comparable(CelType left, CelType right, bool equality)
    {
        if (left.Kind == CelKind.Dyn || right.Kind == CelKind.Dyn)
            return true;
        if (equality && (left.Kind == CelKind.Null || right.Kind == CelKind.Null))
            return true;
        if (left.Kind is CelKind.Int or CelKind.Double && right.Kind is CelKind.Int or CelKind.Double)
            return true;
        return left.Kind == right.Kind && (equality || left.Kind is CelKind.String or CelKind.Bool);
    }

    private static void Expect(CelType type, CelKind kind, string where)
    {
        if (type.Kind != kind && type.Kind != CelKind.Dyn)
            throw new CelException($"{where} wants {new CelType(kind).Name}, not {type.Name}");
    }

    private static CelException NoOverload(string op, CelType left, CelType right)
        => new($"found no matching overload for {op} applied to '({left.Name}, {right.Name})'");

    private bool Take(string op)
    {
        if (Current.Kind != CelTokenKind.Operator || Current.Text != op)
            return false;
        _at++;
        return true;
    }

    private void Need(string op)
    {
        if (!Take(op))
            throw new CelException($"expected '{op}' before {Current.Text} at {Current.At}");
    }

    private CelException Unexpected() => new($"unexpected {Current.Text} at {Current.At}");
}
