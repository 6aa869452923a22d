using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Validation;

/// <summary>Defaults and rules of Role, ClusterRole and their bindings (k8s.io/kubernetes/pkg/apis/rbac/validation).</summary>
internal static class RbacRules
{
    private const string Group = "rbac.authorization.k8s.io";

    public static void DefaultBinding(JsonObject binding)
    {
        if (binding["roleRef"] is JsonObject role && role.Text("apiGroup").Length == 0)
            role["apiGroup"] = Group;
        foreach (var subject in binding.Items("subjects").Where(subject => subject.Text("apiGroup").Length == 0 && subject.Text("kind") is "User" or "Group"))
            subject["apiGroup"] = Group;
    }

    public static void CheckRole(ResourceKind kind, JsonObject role, List<FieldError> errors)
    {
        var i = 0;
        foreach (var rule in role.Items("rules"))
            CheckRule(rule, kind.Namespaced, $"rules[{i++}]", errors);
        if (role["aggregationRule"] is not JsonObject gathering)
            return;
        if (!gathering.Items("clusterRoleSelectors").Any())
            errors.Add(Errors.Required("aggregationRule.clusterRoleSelectors", "at least one clusterRoleSelector required if aggregationRule is non-nil"));
        var j = 0;
        foreach (var selector in gathering.Items("clusterRoleSelectors"))
            SelectorRules.CheckLabels(selector, $"aggregationRule.clusterRoleSelectors[{j++}]", errors);
    }

    public static void CheckBinding(ResourceKind kind, JsonObject binding, JsonObject? old, List<FieldError> errors)
    {
        var role = binding["roleRef"] as JsonObject ?? [];
        if (role.Text("apiGroup") != Group)
            errors.Add(Errors.NotSupported("roleRef.apiGroup", role.Text("apiGroup"), Group));
        if (role.Text("kind") != "ClusterRole" && !(kind.Namespaced && role.Text("kind") == "Role"))
            errors.Add(Errors.NotSupported("roleRef.kind", role.Text("kind"), kind.Namespaced ? ["Role", "ClusterRole"] : ["ClusterRole"]));
        if (role.Text("name").Length == 0)
            errors.Add(Errors.Required("roleRef.name"));
        else if (Names.PathSegment(role.Text("name")) is { } fault)
            errors.Add(Errors.Invalid("roleRef.name", role.Text("name"), fault));
        var i = 0;
        foreach (var subject in binding.Items("subjects"))
            CheckSubject(subject, $"subjects[{i++}]", errors);
        if (old is not null && !JsonNode.DeepEquals(role, old["roleRef"]))
            errors.Add(Errors.Invalid("roleRef", role, "cannot change roleRef"));
    }

    private static void CheckRule(JsonObject rule, bool isNamespaced, string at, List<FieldError> errors)
    {
        if (!rule.Texts("verbs").Any())
            errors.Add(Errors.Required($"{at}.verbs", "verbs must contain at least one value"));
        var hasResources = rule.Texts("apiGroups").Any() || rule.Texts("resources").Any() || rule.Texts("resourceNames").Any();
        if (rule.Texts("nonResourceURLs").Any())
        {
            if (isNamespaced)
                errors.Add(Errors.Invalid($"{at}.nonResourceURLs", rule["nonResourceURLs"], "namespaced rules cannot apply to non-resource URLs"));
            if (hasResources)
                errors.Add(Errors.Invalid($"{at}.nonResourceURLs", rule["nonResourceURLs"], "rules cannot apply to both regular resources and non-resource URLs"));
            return;
        }

        if (!rule.Texts("apiGroups").Any())
            errors.Add(Errors.Required($"{at}.apiGroups", "resource rules must supply at least one api group"));
        if (!rule.Texts("resources").Any())
            errors.Add(Errors.Required($"{at}.resources", "resource rules must supply at least one resource"));
    }

    private static void CheckSubject(JsonObject subject, string at, List<FieldError> errors)
    {
        var (kind, group, name) = (subject.Text("kind"), subject.Text("apiGroup"), subject.Text("name"));
        if (name.Length == 0)
            errors.Add(Errors.Required($"{at}.name"));
        switch (kind)
        {
            case "ServiceAccount":
                if (name.Length > 0 && Names.DnsSubdomain(name) is { } fault)
                    errors.Add(Errors.Invalid($"{at}.name", name, fault));
                if (group.Length > 0)
                    errors.Add(Errors.NotSupported($"{at}.apiGroup", group, ""));
                if (subject.Text("namespace").Length == 0)
                    errors.Add(Errors.Required($"{at}.namespace"));
                break;
            case "User" or "Group":
                if (group != Group)
                    errors.Add(Errors.NotSupported($"{at}.apiGroup", group, Group));
                break;
            default:
                errors.Add(Errors.NotSupported($"{at}.kind", kind, "ServiceAccount", "User", "Group"));
                break;
        }
    }
}
