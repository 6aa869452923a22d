using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Cloud.NodeGroups;

/// <summary>Where a Deployment of an EdgeApplication goes: a NodeGroup, or the nodes that a label selector selects.</summary>
/// <param name="Group">The NodeGroup's name; empty for a selector.</param>
internal sealed record AppTarget(string Group, JsonObject? Selector, JsonObject? Overriders)
{
    /// <summary>What is appended to the Deployment's name: <c>-&lt;group&gt;</c>, or <c>-ls-</c> and eight hexadecimal digits of SHA-256 over the sorted labels (kubeedge-wire §7).</summary>
    public string Suffix
    {
        get
        {
            if (Group.Length > 0)
                return "-" + Group;
            var text = new StringBuilder();
            foreach (var (key, value) in Selector.Map("matchLabels").OrderBy(pair => pair.Key, StringComparer.Ordinal))
                text.Append(key).Append(value);
            foreach (var expression in Selector.Items("matchExpressions"))
                text.Append(expression.ToJsonString());
            return "-ls-" + Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text.ToString())).AsSpan(0, 4));
        }
    }
}

/// <summary>Makes a target's Deployment from the one in the template (kubeedge-wire §7). Pure.</summary>
internal static class Overriders
{
    /// <summary>Changes <paramref name="deployment"/> for the target. Null on success; else what is wrong and where, and the deployment is not to be used.</summary>
    public static string? Apply(JsonObject deployment, AppTarget target)
    {
        deployment.Child("metadata")["name"] = deployment.Name() + target.Suffix;
        var pod = deployment.Child("spec").Child("template").Child("spec");
        if (target.Group.Length > 0)
            pod["nodeSelector"] = new JsonObject { [AppKinds.BelongingTo] = target.Group };
        else if (Affinity(target.Selector) is { } terms)
            pod.Child("affinity")["nodeAffinity"] = new JsonObject
            {
                ["requiredDuringSchedulingIgnoredDuringExecution"] = new JsonObject { ["nodeSelectorTerms"] = new JsonArray(new JsonObject { ["matchExpressions"] = terms }) },
            };
        var overriders = target.Overriders;
        if (overriders.At("replicas").TryWhole(out var replicas))
            deployment.Child("spec")["replicas"] = replicas;
        foreach (var image in overriders.Items("imageOverriders"))
        {
            if (Image(deployment, pod, image) is { } problem)
                return $"imageOverriders: {problem}";
        }

        foreach (var (key, field) in (ReadOnlySpan<(string, string)>)[("commandOverriders", "command"), ("argsOverriders", "args")])
        {
            foreach (var texts in overriders.Items(key))
            {
                foreach (var container in Containers(pod, texts))
                    Texts(container, field, texts);
            }
        }

        foreach (var env in overriders.Items("envOverriders"))
        {
            foreach (var container in Containers(pod, env))
                Env(container, env);
        }

        foreach (var resources in overriders.Items("resourcesOverriders"))
        {
            foreach (var container in Containers(pod, resources))
                container["resources"] = resources.At("value")?.DeepClone() ?? new JsonObject();
        }

        return null;
    }

    private static IEnumerable<JsonObject> Containers(JsonObject pod, JsonObject overrider) => pod.Items("containers").Where(one => one.Text("name") == overrider.Text("containerName"));

    // One term: all have to match.
    private static JsonArray? Affinity(JsonObject? selector)
    {
        var terms = new JsonArray();
        foreach (var (key, value) in selector.Map("matchLabels").OrderBy(pair => pair.Key, StringComparer.Ordinal))
            terms.Add((JsonNode)new JsonObject { ["key"] = key, ["operator"] = "In", ["values"] = new JsonArray(value) });
        foreach (var expression in selector.Items("matchExpressions"))
            terms.Add(expression.DeepClone());
        return terms.Count == 0 ? null : terms;
    }

    private static string? Image(JsonObject deployment, JsonObject pod, JsonObject overrider)
    {
        if (overrider.Text("predicate", "path") is { Length: > 0 } path)
            return ImageAt(deployment, path, overrider);
        foreach (var container in pod.Items("containers"))
        {
            if (Changed(container.Text("image"), overrider) is not { } image)
                return Unknown(overrider);
            container["image"] = image;
        }

        return null;
    }

    private static string? ImageAt(JsonObject deployment, string path, JsonObject overrider)
    {
        var parts = path.Trim('/').Split('/');
        JsonNode? at = deployment;
        foreach (var part in parts[..^1])
        {
            at = at switch
            {
                JsonArray list when int.TryParse(part, NumberStyles.None, CultureInfo.InvariantCulture, out var index) && index < list.Count => list[index],
                JsonObject map => map[part],
                _ => null,
            };
        }

        if (at is not JsonObject holder || holder.Text(parts[^1]) is not { Length: > 0 } image)
            return $"predicate.path '{path}' leads to no image; give one such as /spec/template/spec/containers/0/image";
        if (Changed(image, overrider) is not { } changed)
            return Unknown(overrider);
        holder[parts[^1]] = changed;
        return null;
    }

    private static string? Changed(string image, JsonObject overrider) => ImageName.Parse(image).With(overrider.Text("component"), overrider.Text("operator"), overrider.Text("value"))?.ToString();

    private static string Unknown(JsonObject overrider)
        => $"'{overrider.Text("component")}' with '{overrider.Text("operator")}' is not known; component is Registry, Repository or Tag, operator add, remove or replace";

    private static void Texts(JsonObject container, string field, JsonObject overrider)
    {
        var value = overrider.Texts("value").ToList();
        if (value.Count == 0)
            return;
        var present = container.Texts(field);
        container[field] = new JsonArray([.. (overrider.Text("operator") == "remove" ? present.Where(text => !value.Contains(text, StringComparer.Ordinal)) : present.Concat(value)).Select(text => (JsonNode)text)]);
    }

    private static void Env(JsonObject container, JsonObject overrider)
    {
        var value = overrider.Items("value").ToList();
        if (value.Count == 0)
            return;
        var env = container.Items("env").Select(one => one.DeepClone().AsObject()).ToList();
        switch (overrider.Text("operator"))
        {
            case "add":
                env.AddRange(value.Select(one => one.DeepClone().AsObject()));
                break;
            case "remove":
                env.RemoveAll(one => value.Exists(gone => gone.Text("name") == one.Text("name")));
                break;
            case "replace":
                foreach (var one in value)
                {
                    var index = env.FindIndex(present => present.Text("name") == one.Text("name"));
                    if (index < 0)
                        env.Add(one.DeepClone().AsObject());
                    else
                        env[index] = one.DeepClone().AsObject();
                }

                break;
        }

        container["env"] = new JsonArray([.. env]);
    }
}
