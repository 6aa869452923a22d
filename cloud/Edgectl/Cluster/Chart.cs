using System.Reflection;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Ctl.Cluster;

/// <summary>The chart of <c>manifests/charts/edge</c>, built into the executable: its values, and its objects in the order in which they are applied.</summary>
internal static class Chart
{
    /// <summary>Values laid over the chart's own, by name: <c>edgectl init --profile</c>.</summary>
    public static IReadOnlyDictionary<string, string> Profiles { get; } = new SortedDictionary<string, string>(StringComparer.Ordinal)
    {
        ["ha"] = "{}",
        ["single"] = "{replicas: 1, podDisruptionBudget: {minAvailable: 0}}",
        ["kubectl"] = "{config: {modules: {cloudStream: {enable: true}}}}",
        ["gslb"] = "{config: {modules: {gslb: {enable: true}}}}",
    };

    // Below these the chart takes whatever is said; cloudcore or the API checks it.
    private static readonly string[] s_open = ["config", "resources", "tolerations", "imagePullSecrets", "service.annotations", "rbac.secretNamespaces"];

    /// <summary>The chart's values with a profile and <c>key.path=value</c> texts laid over them, in this order.</summary>
    /// <exception cref="ChartException">The profile or a key is not known, or a value cannot be read.</exception>
    public static JsonObject Values(string profile, IEnumerable<string> sets)
    {
        var values = Read("chart/values.yaml") is { } text && Manifests.ParseValue(text) is JsonObject own ? own : throw new ChartException("the chart has no values");
        if (!Profiles.TryGetValue(profile, out var over))
            throw new ChartException($"--profile '{profile}' is not one of {string.Join(", ", Profiles.Keys)}");
        Merge(values, Manifests.ParseValue(over)!.AsObject());
        foreach (var set in sets)
            Set(values, set);
        return values;
    }

    /// <summary>The CustomResourceDefinitions.</summary>
    public static IReadOnlyList<JsonObject> Crds() => [.. Names("chart/crds/").SelectMany(name => Manifests.Parse(Read(name)))];

    /// <summary>Everything else, rendered.</summary>
    /// <exception cref="ChartException">A template cannot be rendered with these values.</exception>
    public static IReadOnlyList<JsonObject> Render(JsonObject values) => [.. Files(values).SelectMany(file => Manifests.Parse(file.Text))];

    /// <summary>The rendered files, by their names in the chart.</summary>
    public static IEnumerable<(string Name, string Text)> Files(JsonObject values)
        => Names("chart/templates/").Select(name => (name["chart/templates/".Length..], ChartTemplate.Render(name, Read(name), values)));

    private static void Set(JsonObject values, string set)
    {
        var equals = set.IndexOf('=', StringComparison.Ordinal);
        if (equals <= 0)
            throw new ChartException($"--set {set}: must be key.path=value, e.g. replicas=2");
        var keys = set[..equals].Split('.');
        var isOpen = s_open.Any(open => set.StartsWith(open + ".", StringComparison.Ordinal) || set[..equals] == open);
        var node = values;
        foreach (var key in keys[..^1])
        {
            if (!node.ContainsKey(key) && !isOpen)
                throw new ChartException($"--set {set}: the chart has no value '{key}'; there is {string.Join(", ", node.Select(pair => pair.Key))}");
            node = node.Child(key);
        }

        if (!node.ContainsKey(keys[^1]) && !isOpen)
            throw new ChartException($"--set {set}: the chart has no value '{keys[^1]}'; there is {string.Join(", ", node.Select(pair => pair.Key))}");
        try
        {
            node[keys[^1]] = Manifests.ParseValue($"value: {set[(equals + 1)..]}").At("value")?.DeepClone();
        }
        catch (ManifestException e)
        {
            throw new ChartException($"--set {set}: the value is not YAML: {e.Message}");
        }
    }

    private static void Merge(JsonObject target, JsonObject source)
    {
        foreach (var (key, value) in source)
        {
            if (value is JsonObject inner && target[key] is JsonObject own)
                Merge(own, inner);
            else
                target[key] = value?.DeepClone();
        }
    }

    private static IEnumerable<string> Names(string prefix)
        => Assembly.GetExecutingAssembly().GetManifestResourceNames().Where(name => name.StartsWith(prefix, StringComparison.Ordinal)).Order(StringComparer.Ordinal);

    private static string Read(string name)
    {
        using var reader = new StreamReader(Assembly.GetExecutingAssembly().GetManifestResourceStream(name)!);
        return reader.ReadToEnd();
    }
}
