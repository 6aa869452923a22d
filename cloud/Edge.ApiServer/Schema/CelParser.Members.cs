using System.Text.RegularExpressions;

namespace Edge.ApiServer.Schema;

// Names, literals, field access, calls and macros.
internal sealed partial class CelParser
{
    private static readonly Dictionary<string, string> s_escapes = new()
    {
        ["underscores"] = "__", ["dot"] = ".", ["dash"] = "-", ["slash"] = "/",
    };

    private (Code Code, CelType Type) Member()
    {
        var (code, type) = Primary();
        while (true)
        {
            var target = code;
            if (Take("["))
            {
                var (index, _) = Expression();
                Need("]");
                if (type.Kind is not (CelKind.Dyn or CelKind.List or CelKind.Map))
                    throw new CelException($"{type.Name} cannot be indexed");
                (code, type) = (scope => CelValues.Index(target(scope), index(scope)), Element(type, values: true));
            }
            else if (Take("."))
            {
                var name = Identifier();
                (code, type) = Take("(") ? Call(name, target, type) : Field(name, target, type);
            }
            else
            {
                return (code, type);
            }
        }
    }

    private (Code Code, CelType Type) Primary()
    {
        var token = _tokens[_at];
        switch (token.Kind)
        {
            case CelTokenKind.Int or CelTokenKind.Double or CelTokenKind.String:
                _at++;
                var value = token.Value;
                return (_ => value, token.Kind switch { CelTokenKind.Int => CelType.Int, CelTokenKind.Double => CelType.Double, _ => CelType.String });
            case CelTokenKind.Operator when Take("("):
                var inner = Expression();
                Need(")");
                return inner;
            case CelTokenKind.Operator when Take("["):
                return List();
            case CelTokenKind.Identifier:
                _at++;
                return token.Text switch
                {
                    "true" => (_ => true, CelType.Bool),
                    "false" => (_ => false, CelType.Bool),
                    "null" => (_ => null, CelType.Null),
                    _ when Take("(") => Function(token.Text),
                    _ => Variable(token.Text),
                };
            default:
                throw Unexpected();
        }
    }

    private (Code Code, CelType Type) Variable(string name)
    {
        if (!_variables.TryGetValue(name, out var type))
            throw new CelException($"undeclared reference to '{name}'");
        _usesOldSelf |= name == "oldSelf";
        return (scope => scope.Find(name), type);
    }

    private (Code Code, CelType Type) List()
    {
        var items = new List<Code>();
        CelType? element = null;
        while (!Take("]"))
        {
            if (items.Count > 0)
                Need(",");
            var (code, type) = Expression();
            element = element is null || element.Kind == type.Kind ? type : CelType.Dyn;
            items.Add(code);
        }

        return (scope => items.ConvertAll(item => item(scope)), new CelType(CelKind.List, Element: element));
    }

    private static (Code Code, CelType Type) Field(string name, Code target, CelType type)
    {
        var key = Unescape(name);
        return (scope => CelValues.Select(target(scope), key), FieldType(type, key));
    }

    private static CelType FieldType(CelType type, string key)
    {
        var node = FieldNode(type, key);
        return node is null ? CelType.Dyn : CelType.Of(node) ?? throw new CelException($"field {key} has format {node.Format}, which rules cannot use here");
    }

    /// <summary>The schema of a field that must exist; null where the type is not known.</summary>
    private static SchemaNode? FieldNode(CelType type, string key)
    {
        if (type.Kind is not (CelKind.Dyn or CelKind.Map))
            throw new CelException($"type '{type.Name}' does not support field selection");
        if (type.Node is null)
            return null;
        return type.Node.Member(key) ?? throw new CelException($"undefined field '{key}'");
    }

    private (Code Code, CelType Type) Function(string name)
    {
        if (name == "has")
            return Has();
        var (argument, type) = Expression();
        if (name is not ("size" or "int" or "double" or "string"))
            throw new CelException($"the function {name}() is not supported; use has, size, int, double, string, or the methods matches, startsWith, endsWith, contains, all, exists, exists_one, filter, map");
        Need(")");
        if (name == "size" && type.Kind is CelKind.Bool or CelKind.Int or CelKind.Double or CelKind.Null)
            throw new CelException($"found no matching overload for 'size' applied to '({type.Name})'");
        return name switch
        {
            "size" => (scope => CelValues.Size(argument(scope)), CelType.Int),
            "int" => (scope => CelValues.ToInt(argument(scope)), CelType.Int),
            "double" => (scope => CelValues.ToDouble(argument(scope)), CelType.Double),
            _ => (scope => CelValues.ToText(argument(scope)), CelType.String),
        };
    }

    /// <summary>has(e.f): the last token before the parenthesis is the field, everything before it the operand.</summary>
    private (Code Code, CelType Type) Has()
    {
        var (target, type) = Primary();
        while (true)
        {
            if (Take("["))
            {
                var (index, _) = Expression();
                Need("]");
                var list = target;
                (target, type) = (scope => CelValues.Index(list(scope), index(scope)), Element(type, values: true));
                continue;
            }

            if (!Take("."))
                throw new CelException("has() wants a field, e.g. has(self.spec)");
            var name = Identifier();
            if (Take(")"))
            {
                var key = Unescape(name);
                FieldNode(type, key);
                var owner = target;
                return (scope => CelValues.Has(owner(scope), key), CelType.Bool);
            }

            (target, type) = Field(name, target, type);
        }
    }

    private (Code Code, CelType Type) Call(string name, Code target, CelType type)
    {
        if (name is "all" or "exists" or "exists_one" or "filter" or "map")
            return Macro(name, target, type);
        if (name == "size")
        {
            Need(")");
            return (scope => CelValues.Size(target(scope)), CelType.Int);
        }

        if (name is not ("matches" or "startsWith" or "endsWith" or "contains"))
            throw new CelException($"the method {name}() is not supported; use matches, startsWith, endsWith, contains, size, all, exists, exists_one, filter or map");
        Expect(type, CelKind.String, $"{name}()");
        var constant = Current.Kind == CelTokenKind.String && _tokens[_at + 1].Text == ")" ? (string)Current.Value! : null;
        var (argument, argumentType) = Expression();
        Need(")");
        Expect(argumentType, CelKind.String, $"{name}()");
        if (name == "matches")
        {
            if (constant is null)
                throw new CelException("matches() wants its pattern as a literal text");
            var regex = SchemaPattern.Compile(constant, out var fault) ?? throw new CelException(fault);
            return (scope => Match(regex, Text(target(scope))), CelType.Bool);
        }

        return (name switch
        {
            "startsWith" => scope => Text(target(scope)).StartsWith(Text(argument(scope)), StringComparison.Ordinal),
            "endsWith" => scope => Text(target(scope)).EndsWith(Text(argument(scope)), StringComparison.Ordinal),
            _ => scope => Text(target(scope)).Contains(Text(argument(scope)), StringComparison.Ordinal),
        }, CelType.Bool);
    }

    private (Code Code, CelType Type) Macro(string name, Code target, CelType type)
    {
        if (type.Kind is not (CelKind.Dyn or CelKind.List or CelKind.Map))
            throw new CelException($"{name}() wants a list or a map, not {type.Name}");
        var variable = Identifier();
        if (_variables.ContainsKey(variable))
            throw new CelException($"the variable {variable} hides another one");
        Need(",");
        _variables[variable] = Element(type, values: false);
        var (body, bodyType) = Expression();
        if (name == "map" && Current.Text == ",")
            throw new CelException("map() with a filter is not supported; use filter() first");
        _variables.Remove(variable);
        Need(")");
        if (name != "map")
            Expect(bodyType, CelKind.Bool, $"{name}()");
        return name switch
        {
            "all" => (scope => Any(scope, wanted: false) is false, CelType.Bool),
            "exists" => (scope => Any(scope, wanted: true), CelType.Bool),
            "exists_one" => (scope => Each(scope).Count(CelValues.Truth) == 1, CelType.Bool),
            "filter" => (scope => CelValues.Range(target(scope)).Where(item => CelValues.Truth(Bind(scope, item))).ToList(), type.Kind == CelKind.Map ? new CelType(CelKind.List, Element: CelType.String) : type),
            _ => (scope => Each(scope).ToList(), new CelType(CelKind.List, Element: bodyType)),
        };

        object? Bind(CelScope scope, object? item)
        {
            scope.Step();
            return body(new CelScope(scope, variable, item));
        }

        IEnumerable<object?> Each(CelScope scope) => CelValues.Range(target(scope)).Select(item => Bind(scope, item));

        // True when one element gives the wanted answer; an element that fails counts only when none does.
        bool Any(CelScope scope, bool wanted)
        {
            CelException? failure = null;
            foreach (var item in CelValues.Range(target(scope)))
            {
                try
                {
                    if (CelValues.Truth(Bind(scope, item)) == wanted)
                        return true;
                }
                catch (CelException e)
                {
                    failure ??= e;
                }
            }

            return failure is null ? false : throw failure;
        }
    }

    /// <summary>The type of a list's elements; of a map's values (index) or keys (macros).</summary>
    private static CelType Element(CelType type, bool values)
    {
        if (type.Kind == CelKind.Map && !values)
            return CelType.String;
        var node = type.Kind == CelKind.List ? type.Node?.Items : type.Node?.Additional;
        return node is null ? type.Element ?? CelType.Dyn
            : CelType.Of(node) ?? throw new CelException($"elements have format {node.Format}, which rules cannot use here");
    }

    private static bool Match(Regex regex, string text)
    {
        try
        {
            return regex.IsMatch(text);
        }
        catch (RegexMatchTimeoutException)
        {
            throw new CelException("matches() takes too long on this text");
        }
    }

    private static string Text(object? value) => value as string ?? throw new CelException($"{CelValues.Name(value)} is not a string");

    private string Identifier()
    {
        var token = _tokens[_at];
        if (token.Kind != CelTokenKind.Identifier)
            throw Unexpected();
        _at++;
        return token.Text;
    }

    /// <summary>Kubernetes' escapes of property names that are no CEL identifiers: <c>a__dash__b</c>, and keywords as <c>__in__</c>.</summary>
    private static string Unescape(string name)
    {
        if (!name.Contains("__", StringComparison.Ordinal))
            return name;
        if (name.Length > 4 && name.StartsWith("__", StringComparison.Ordinal) && name.EndsWith("__", StringComparison.Ordinal)
            && name[2..^2] is "true" or "false" or "null" or "in" or "as" or "break" or "const" or "continue" or "else" or "for" or "function" or "if" or "import" or "let" or "loop" or "package" or "namespace" or "return")
            return name[2..^2];
        foreach (var (word, text) in s_escapes)
            name = name.Replace($"__{word}__", text, StringComparison.Ordinal);
        return name;
    }
}
