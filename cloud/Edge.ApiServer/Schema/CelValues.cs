using System.Globalization;
using System.Text.Json.Nodes;

namespace Edge.ApiServer.Schema;

/// <summary>CEL's operators on values. Each throws <see cref="CelException"/> where CEL has no such overload.</summary>
internal static class CelValues
{
    public static bool Truth(object? value) => value is bool flag ? flag : throw new CelException($"{Name(value)} is not a bool");

    public static bool Same(object? left, object? right) => (left, right) switch
    {
        (null, null) => true,
        (long or double, long or double) => left is long a && right is long b ? a == b : Number(left) == Number(right),
        (string a, string b) => a == b,
        (bool a, bool b) => a == b,
        (CelNode or List<object?>, CelNode or List<object?>) => IsList(left) && IsList(right)
            ? SameLists(Elements(left), Elements(right))
            : left is CelNode { Json: JsonObject x } && right is CelNode { Json: JsonObject y } && SameMaps((CelNode)left, x, (CelNode)right, y),
        _ => false,
    };

    public static int Compare(object? left, object? right) => (left, right) switch
    {
        (long a, long b) => a.CompareTo(b),
        (long or double, long or double) => Number(left).CompareTo(Number(right)),
        (string a, string b) => string.CompareOrdinal(a, b),
        (bool a, bool b) => a.CompareTo(b),
        _ => throw NoOverload("comparison", left, right),
    };

    public static object Arithmetic(char op, object? left, object? right)
    {
        try
        {
            return (op, left, right) switch
            {
                ('+', long a, long b) => checked(a + b),
                ('-', long a, long b) => checked(a - b),
                ('*', long a, long b) => checked(a * b),
                ('/', long, 0L) => throw new CelException("division by zero"),
                ('%', long, 0L) => throw new CelException("modulus by zero"),
                ('/', long a, long b) => checked(a / b),
                ('%', long a, long b) => b == -1 ? 0L : a % b,
                ('+', double a, double b) => a + b,
                ('-', double a, double b) => a - b,
                ('*', double a, double b) => a * b,
                ('/', double a, double b) => a / b,
                ('+', string a, string b) => a.Length + b.Length <= 1 << 20 ? a + b : throw new CelException("the text grows too long"),
                ('+', CelNode or List<object?>, CelNode or List<object?>) when IsList(left) && IsList(right) => Elements(left).Concat(Elements(right)).ToList(),
                _ => throw NoOverload($"'_{op}_'", left, right),
            };
        }
        catch (OverflowException)
        {
            throw new CelException("integer overflow");
        }
    }

    public static object Negate(object? value) => value switch
    {
        // Without the cast both arms would become double.
        long and not long.MinValue => (object)-(long)value,
        double number => -number,
        _ => throw new CelException($"{Name(value)} cannot be negated"),
    };

    public static long Size(object? value) => value switch
    {
        string text => text.EnumerateRunes().Count(),
        List<object?> list => list.Count,
        CelNode { Json: JsonArray array } => array.Count,
        CelNode { Json: JsonObject map } => map.Count,
        _ => throw new CelException($"size() of {Name(value)}"),
    };

    public static object? Select(object? value, string key)
    {
        if (value is not CelNode { Json: JsonObject obj } node)
            throw new CelException($"{Name(value)} has no field {key}");
        return obj.TryGetPropertyValue(key, out var member) ? CelNode.Wrap(member, node.Schema?.Member(key)) : throw new CelException($"no such key: {key}");
    }

    public static bool Has(object? value, string key)
        => value is CelNode { Json: JsonObject obj } ? obj.TryGetPropertyValue(key, out var member) && member is not null : throw new CelException($"{Name(value)} has no fields");

    public static object? Index(object? value, object? index)
    {
        if (index is string key)
            return Select(value, key);
        if (index is not long at || !IsList(value))
            throw NoOverload("index", value, index);
        var list = Elements(value);
        return at >= 0 && at < list.Count ? list[(int)at] : throw new CelException($"index out of bounds: {at}");
    }

    public static bool In(object? item, object? container)
    {
        if (container is CelNode { Json: JsonObject map })
            return item is string key && map.ContainsKey(key);
        return IsList(container) ? Elements(container).Any(element => Same(element, item)) : throw NoOverload("in", item, container);
    }

    public static bool IsList(object? value) => value is List<object?> or CelNode { Json: JsonArray };

    /// <summary>What a macro ranges over: a list's elements, or a map's keys.</summary>
    public static List<object?> Range(object? value)
        => value is CelNode { Json: JsonObject map } ? [.. map.Select(pair => (object?)pair.Key)]
            : IsList(value) ? Elements(value) : throw new CelException($"{Name(value)} cannot be iterated");

    public static List<object?> Elements(object? value)
        => value as List<object?> ?? (value is CelNode { Json: JsonArray array } node
            ? [.. array.Select(item => CelNode.Wrap(item, node.Schema?.Items))]
            : throw new CelException($"{Name(value)} is not a list"));

    public static object ToInt(object? value) => value switch
    {
        long whole => whole,
        double number when Math.Abs(number) < 9.2e18 => (long)number,
        string text when long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var whole) => whole,
        _ => throw new CelException($"int() of {Show(value)}"),
    };

    public static object ToDouble(object? value) => value switch
    {
        long whole => (double)whole,
        double number => number,
        string text when double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var number) => number,
        _ => throw new CelException($"double() of {Show(value)}"),
    };

    public static object ToText(object? value) => value switch
    {
        string text => text,
        long whole => whole.ToString(CultureInfo.InvariantCulture),
        double number => number.ToString("R", CultureInfo.InvariantCulture),
        bool flag => flag ? "true" : "false",
        _ => throw new CelException($"string() of {Name(value)}"),
    };

    public static string Name(object? value) => value switch
    {
        null => "null",
        bool => "bool",
        long => "int",
        double => "double",
        string => "string",
        _ => IsList(value) ? "list" : "map",
    };

    private static string Show(object? value) => value is string text ? $"\"{(text.Length > 64 ? text[..64] + "…" : text)}\"" : Name(value);

    private static double Number(object? value) => value is long whole ? whole : (double)value!;

    private static bool SameLists(List<object?> left, List<object?> right)
        => left.Count == right.Count && left.Zip(right).All(pair => Same(pair.First, pair.Second));

    private static bool SameMaps(CelNode leftNode, JsonObject left, CelNode rightNode, JsonObject right)
        => left.Count == right.Count && left.All(pair => right.TryGetPropertyValue(pair.Key, out var other)
            && Same(CelNode.Wrap(pair.Value, leftNode.Schema?.Member(pair.Key)), CelNode.Wrap(other, rightNode.Schema?.Member(pair.Key))));

    private static CelException NoOverload(string what, object? left, object? right) => new($"no such overload: {what} of ({Name(left)}, {Name(right)})");
}
