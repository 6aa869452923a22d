using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Edge.Kubernetes.Selectors;

/// <summary>How one requirement of a label selector compares.</summary>
public enum LabelOperator
{
    Exists,
    DoesNotExist,
    In,
    NotIn,
    GreaterThan,
    LessThan,
}

/// <summary>One condition on one label; <see cref="Values"/> is empty for the two existence operators.</summary>
public sealed record LabelRequirement(string Key, LabelOperator Operator, IReadOnlyList<string> Values)
{
    public bool Matches(string? value) => Operator switch
    {
        LabelOperator.Exists => value is not null,
        LabelOperator.DoesNotExist => value is null,
        LabelOperator.In => value is not null && Values.Contains(value, StringComparer.Ordinal),
        LabelOperator.NotIn => value is null || !Values.Contains(value, StringComparer.Ordinal),
        _ => TryNumber(value, out var left) && TryNumber(Values[0], out var right) && (Operator == LabelOperator.GreaterThan ? left > right : left < right),
    };

    internal static bool TryNumber(string? text, out long number)
        => long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out number);
}

/// <summary>A Kubernetes label selector: all of its requirements must hold. The empty selector matches everything.</summary>
public sealed class LabelSelector
{
    /// <summary>Matches everything.</summary>
    public static readonly LabelSelector Everything = new([]);

    private LabelSelector(IReadOnlyList<LabelRequirement> requirements) => Requirements = requirements;

    public IReadOnlyList<LabelRequirement> Requirements { get; }

    public bool IsEmpty => Requirements.Count == 0;

    /// <summary>Reads the query form: <c>a=b,c!=d,e in (f,g),h notin (i),j,!k,l&gt;1,m&lt;2</c>.</summary>
    /// <exception cref="SelectorException">The text is not such a list.</exception>
    public static LabelSelector Parse(string text)
    {
        var requirements = new List<LabelRequirement>();
        var reader = new Reader(text);
        while (!reader.AtEnd)
        {
            requirements.Add(reader.Requirement());
            if (reader.AtEnd)
                break;
            reader.Expect(',');
            if (reader.AtEnd)
                throw reader.Error("a requirement is missing after ','");
        }

        return requirements.Count == 0 ? Everything : new LabelSelector(requirements);
    }

    /// <summary>Reads a metav1.LabelSelector: <c>matchLabels</c> and <c>matchExpressions</c>.</summary>
    /// <exception cref="SelectorException">An operator is unknown, or its values do not fit it.</exception>
    public static LabelSelector FromJson(JsonObject selector)
    {
        var requirements = selector.Map("matchLabels").Select(pair => new LabelRequirement(pair.Key, LabelOperator.In, [pair.Value])).ToList();
        requirements.AddRange(selector.Items("matchExpressions").Select(FromExpression));
        return requirements.Count == 0 ? Everything : new LabelSelector(requirements);
    }

    /// <summary>Reads one <c>{key, operator, values}</c>, as in matchExpressions and in node affinity (which adds Gt and Lt).</summary>
    /// <exception cref="SelectorException">As <see cref="FromJson"/>.</exception>
    public static LabelRequirement FromExpression(JsonObject expression)
    {
        var key = expression.Text("key");
        var values = expression.Texts("values").ToList();
        var name = expression.Text("operator");
        var op = name switch
        {
            "In" => LabelOperator.In,
            "NotIn" => LabelOperator.NotIn,
            "Exists" => LabelOperator.Exists,
            "DoesNotExist" => LabelOperator.DoesNotExist,
            "Gt" => LabelOperator.GreaterThan,
            "Lt" => LabelOperator.LessThan,
            _ => throw new SelectorException($"\"{name}\" is not a valid label selector operator"),
        };
        if (key.Length == 0)
            throw new SelectorException("a label selector expression has no key");
        var problem = op switch
        {
            LabelOperator.In or LabelOperator.NotIn when values.Count == 0 => "for 'in', 'notin' operators, values set can't be empty",
            LabelOperator.Exists or LabelOperator.DoesNotExist when values.Count > 0 => "values set must be empty for exists and does not exist",
            LabelOperator.GreaterThan or LabelOperator.LessThan when values.Count != 1 || !LabelRequirement.TryNumber(values[0], out _)
                => "for 'Gt', 'Lt' operators, exactly one whole number is required",
            _ => null,
        };
        return problem is null ? new LabelRequirement(key, op, values) : throw new SelectorException($"{key}: {problem}");
    }

    public bool Matches(IEnumerable<KeyValuePair<string, string>> labels)
    {
        if (IsEmpty)
            return true;
        var map = labels as IReadOnlyDictionary<string, string> ?? new Dictionary<string, string>(labels, StringComparer.Ordinal);
        foreach (var requirement in Requirements)
            if (!requirement.Matches(map.GetValueOrDefault(requirement.Key)))
                return false;
        return true;
    }

    /// <summary>The query form, readable by <see cref="Parse"/>.</summary>
    public override string ToString() => string.Join(',', Requirements.Select(r => r.Operator switch
    {
        LabelOperator.Exists => r.Key,
        LabelOperator.DoesNotExist => "!" + r.Key,
        LabelOperator.In when r.Values.Count == 1 => $"{r.Key}={r.Values[0]}",
        LabelOperator.NotIn when r.Values.Count == 1 => $"{r.Key}!={r.Values[0]}",
        LabelOperator.In => $"{r.Key} in ({string.Join(',', r.Values)})",
        LabelOperator.NotIn => $"{r.Key} notin ({string.Join(',', r.Values)})",
        LabelOperator.GreaterThan => $"{r.Key}>{r.Values[0]}",
        _ => $"{r.Key}<{r.Values[0]}",
    }));

    private sealed class Reader(string text)
    {
        private int _at;

        public bool AtEnd
        {
            get
            {
                SkipSpace();
                return _at == text.Length;
            }
        }

        public SelectorException Error(string what)
            => new($"unable to parse requirement: {what} at position {_at} of {JsonSerializer.Serialize(text, SelectorJson.Default.String)}");

        public void Expect(char c)
        {
            SkipSpace();
            if (_at == text.Length || text[_at] != c)
                throw Error($"found {(_at == text.Length ? "the end" : $"'{text[_at]}'")}, expected '{c}'");
            _at++;
        }

        public LabelRequirement Requirement()
        {
            SkipSpace();
            if (Take("!"))
                return new LabelRequirement(Key(), LabelOperator.DoesNotExist, []);
            var key = Key();
            SkipSpace();
            if (AtEnd || text[_at] == ',')
                return new LabelRequirement(key, LabelOperator.Exists, []);
            if (Take("!="))
                return new LabelRequirement(key, LabelOperator.NotIn, [Value()]);
            if (Take("==") || Take("="))
                return new LabelRequirement(key, LabelOperator.In, [Value()]);
            if (Take(">"))
                return new LabelRequirement(key, LabelOperator.GreaterThan, [Number()]);
            if (Take("<"))
                return new LabelRequirement(key, LabelOperator.LessThan, [Number()]);
            var word = Word();
            return word switch
            {
                "in" => new LabelRequirement(key, LabelOperator.In, Set()),
                "notin" => new LabelRequirement(key, LabelOperator.NotIn, Set()),
                _ => throw Error($"found '{word}', expected: in, notin, =, ==, !=, gt, lt"),
            };
        }

        private List<string> Set()
        {
            Expect('(');
            var values = new List<string>();
            do
                values.Add(Value());
            while (Take(","));
            Expect(')');
            return values;
        }

        private string Number()
        {
            var value = Value();
            return LabelRequirement.TryNumber(value, out _) ? value : throw Error($"'{value}' is not a whole number");
        }

        private string Key()
        {
            var word = Word();
            return LabelSyntax.IsQualifiedName(word) ? word : throw Error($"'{word}' is not a label key");
        }

        private string Value()
        {
            var word = Word();
            return LabelSyntax.IsValue(word) ? word : throw Error($"'{word}' is not a label value");
        }

        private string Word()
        {
            SkipSpace();
            var start = _at;
            while (_at < text.Length && !char.IsWhiteSpace(text[_at]) && "=!(),<>".IndexOf(text[_at]) < 0)
                _at++;
            return text[start.._at];
        }

        private bool Take(string token)
        {
            SkipSpace();
            if (!text.AsSpan(_at).StartsWith(token, StringComparison.Ordinal))
                return false;
            _at += token.Length;
            return true;
        }

        private void SkipSpace()
        {
            while (_at < text.Length && char.IsWhiteSpace(text[_at]))
                _at++;
        }
    }
}
