using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Cloud.Router;

internal static class RuleKinds
{
    public static readonly ResourceKind Rule = new("rules.kubeedge.io", "v1", "rules", "Rule", true);
    public static readonly ResourceKind RuleEndpoint = new("rules.kubeedge.io", "v1", "ruleendpoints", "RuleEndpoint", true);
}

internal enum EndpointType
{
    Rest,
    EventBus,
    ServiceBus,
}

/// <summary>A Rule that can be used. Of the members that belong to a source or target of another type, each is empty.</summary>
internal sealed record Route(string Namespace, string Name, string Uid, EndpointType Source, EndpointType Target)
{
    /// <summary>Of a rest source: without slashes at its ends.</summary>
    public string Path { get; init; } = "";

    /// <summary>Of a source at an edge.</summary>
    public string Node { get; init; } = "";

    /// <summary>Of an eventbus source: the MQTT topic filter at the node, <c>&lt;namespace&gt;/&lt;topic&gt;</c>.</summary>
    public string Topic { get; init; } = "";

    /// <summary>Of a servicebus source.</summary>
    public string TargetUrl { get; init; } = "";

    /// <summary>Of a rest target.</summary>
    public Uri? Url { get; init; }

    /// <summary>Of an eventbus target.</summary>
    public string PublishTopic { get; init; } = "";

    /// <summary>Of a servicebus target.</summary>
    public string ServicePath { get; init; } = "";

    public int ServicePort { get; init; }
}

/// <summary>All Rules as they can be used (kubeedge-wire §6); immutable, pure.</summary>
internal sealed class RuleTable
{
    public static readonly RuleTable Empty = new([], new Dictionary<(string, string), string>());

    private RuleTable(IReadOnlyList<Route> routes, IReadOnlyDictionary<(string Namespace, string Name), string> problems)
    {
        Routes = routes;
        Problems = problems;
    }

    public IReadOnlyList<Route> Routes { get; }

    /// <summary>What is wrong with each Rule that cannot be used.</summary>
    public IReadOnlyDictionary<(string Namespace, string Name), string> Problems { get; }

    public static RuleTable Build(IEnumerable<JsonObject> rules, IEnumerable<JsonObject> endpoints)
    {
        var ends = endpoints.ToDictionary(one => (one.Namespace(), one.Name()));
        var routes = new List<Route>();
        var problems = new Dictionary<(string, string), string>();
        foreach (var rule in rules.Where(rule => !rule.IsDeleting()).OrderBy(rule => rule.Namespace(), StringComparer.Ordinal).ThenBy(rule => rule.Name(), StringComparer.Ordinal))
        {
            if (Read(rule, ends, out var problem) is { } route)
                routes.Add(route);
            else
                problems[(rule.Namespace(), rule.Name())] = problem;
        }

        return new RuleTable(routes, problems);
    }

    /// <summary>The rule for <c>/&lt;node&gt;/&lt;namespace&gt;/&lt;path&gt;</c> and what the path has beyond the rule's; of several the one with the longest path.</summary>
    /// <param name="namespace">Of the rules.</param>
    /// <param name="path">As it stands in the request, escaped; what is beyond is so too.</param>
    public (Route Route, string Beyond)? FindRest(string @namespace, string path)
    {
        var given = path.Trim('/').Split('/');
        (Route Route, int Parts)? best = null;
        foreach (var route in Routes)
        {
            if (route.Source != EndpointType.Rest || route.Namespace != @namespace || (best is not null && route.Path.Length <= best.Value.Route.Path.Length))
                continue;
            string[] parts = route.Path.Length == 0 ? [] : route.Path.Split('/');
            if (parts.Length <= given.Length && parts.Zip(given).All(pair => pair.First == Uri.UnescapeDataString(pair.Second)))
                best = (route, parts.Length);
        }

        return best is var (found, length) ? (found, string.Join('/', given[length..]).Trim('/')) : null;
    }

    /// <summary>The rules for a message that an application at the node has published.</summary>
    public List<Route> FindUpload(string node, string topic)
        => [.. Routes.Where(route => route.Source == EndpointType.EventBus && route.Node == node && Matches(route.Topic, topic))];

    public Route? FindService(string node, string url) => Routes.FirstOrDefault(route => route.Source == EndpointType.ServiceBus && route.Node == node && route.TargetUrl == url);

    /// <summary>What the node's EventBus is to listen to.</summary>
    public SortedSet<string> TopicsOf(string node) => new(Routes.Where(route => route.Source == EndpointType.EventBus && route.Node == node).Select(route => route.Topic), StringComparer.Ordinal);

    /// <summary>What the node's ServiceBus is to take.</summary>
    public SortedSet<string> UrlsOf(string node) => new(Routes.Where(route => route.Source == EndpointType.ServiceBus && route.Node == node).Select(route => route.TargetUrl), StringComparer.Ordinal);

    public IEnumerable<string> Nodes => Routes.Where(route => route.Node.Length > 0).Select(route => route.Node).Distinct();

    /// <summary>Whether a topic is of a filter (MQTT 5.0 §4.7); a filter that begins with a wildcard has no topic that begins with '$'.</summary>
    public static bool Matches(string filter, string topic)
    {
        if (topic.StartsWith('$') && !filter.StartsWith('$'))
            return false;
        var (levels, parts) = (filter.Split('/'), topic.Split('/'));
        for (var i = 0; i < levels.Length; i++)
        {
            if (levels[i] == "#")
                return true;
            if (i >= parts.Length || (levels[i] != "+" && levels[i] != parts[i]))
                return false;
        }

        return levels.Length == parts.Length;
    }

    private static Route? Read(JsonObject rule, Dictionary<(string, string), JsonObject> ends, out string problem)
    {
        problem = "";
        if (End(rule, "source", ends, out problem) is not { } source || End(rule, "target", ends, out problem) is not { } target)
            return null;
        if ((source.Type, target.Type) is not ((EndpointType.Rest, _) or (EndpointType.EventBus or EndpointType.ServiceBus, EndpointType.Rest)))
        {
            problem = $"from {source.Type.ToString().ToLowerInvariant()} to {target.Type.ToString().ToLowerInvariant()} there is no way; rest goes to all, eventbus and servicebus go to rest";
            return null;
        }

        var route = new Route(rule.Namespace(), rule.Name(), rule.Uid(), source.Type, target.Type);
        string Given(string map, string key, ref string wrong)
        {
            var text = rule.Text("spec", map, key);
            if (text.Length == 0 && wrong.Length == 0)
                wrong = $"spec.{map} has no '{key}'";
            return text;
        }

        route = source.Type switch
        {
            EndpointType.Rest => route with { Path = Given("sourceResource", "path", ref problem).Trim('/') },
            EndpointType.EventBus => route with { Node = Given("sourceResource", "node_name", ref problem), Topic = $"{rule.Namespace()}/{Given("sourceResource", "topic", ref problem).TrimStart('/')}" },
            _ => route with { Node = Given("sourceResource", "node_name", ref problem), TargetUrl = Given("sourceResource", "target_url", ref problem) },
        };
        switch (target.Type)
        {
            case EndpointType.Rest:
                var url = Given("targetResource", "resource", ref problem);
                if (problem.Length == 0 && (!Uri.TryCreate(url, UriKind.Absolute, out var parsed) || parsed.Scheme is not ("http" or "https")))
                    problem = $"spec.targetResource.resource '{url}' is not a URL, e.g. http://service.default:8080/path";
                else if (problem.Length == 0)
                    route = route with { Url = new Uri(url) };
                break;
            case EndpointType.EventBus:
                route = route with { PublishTopic = Given("targetResource", "topic", ref problem) };
                if (problem.Length == 0 && route.PublishTopic.AsSpan().ContainsAny('+', '#', '\0'))
                    problem = $"spec.targetResource.topic '{route.PublishTopic}' has a wildcard; messages are published on one topic";
                break;
            default:
                route = route with { ServicePath = Given("targetResource", "path", ref problem), ServicePort = target.Port };
                if (target.Port == 0 && problem.Length == 0)
                    problem = $"RuleEndpoint '{rule.Text("spec", "target")}' has no spec.properties.service_port between 1 and 65535";
                break;
        }

        return problem.Length == 0 ? route : null;
    }

    private static (EndpointType Type, int Port)? End(JsonObject rule, string side, Dictionary<(string, string), JsonObject> ends, out string problem)
    {
        problem = "";
        var name = rule.Text("spec", side);
        if (!ends.TryGetValue((rule.Namespace(), name), out var end))
        {
            problem = $"its {side}, RuleEndpoint '{name}', is not there";
            return null;
        }

        int.TryParse(end.Text("spec", "properties", "service_port"), NumberStyles.None, CultureInfo.InvariantCulture, out var port);
        EndpointType? type = end.Text("spec", "ruleEndpointType") switch { "rest" => EndpointType.Rest, "eventbus" => EndpointType.EventBus, "servicebus" => EndpointType.ServiceBus, _ => null };
        if (type is null)
            problem = $"RuleEndpoint '{name}' is of type '{end.Text("spec", "ruleEndpointType")}'; it can be rest, eventbus or servicebus";
        return type is null ? null : (type.Value, port is > 0 and <= 65535 ? port : 0);
    }
}
