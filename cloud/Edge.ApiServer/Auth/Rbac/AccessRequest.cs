namespace Edge.ApiServer.Auth.Rbac;

/// <summary>What is asked for: a resource in a verb, or (with <see cref="Path"/>) a path that is none.</summary>
internal readonly record struct AccessRequest(UserIdentity User, string Verb)
{
    public string Group { get; init; } = "";

    /// <summary>The plural; empty for a path.</summary>
    public string Resource { get; init; } = "";

    public string Subresource { get; init; } = "";

    /// <summary>Empty at the cluster's scope, and for all namespaces.</summary>
    public string Namespace { get; init; } = "";

    /// <summary>The one object that is meant; empty where the request is about any.</summary>
    public string Name { get; init; } = "";

    /// <summary>The node that a list or watch of pods is limited to by its field selector.</summary>
    public string NodeSelected { get; init; } = "";

    public string Path { get; init; } = "";

    public bool IsResource => Resource.Length > 0;

    /// <summary>As rules name it: <c>pods</c>, <c>pods/log</c>.</summary>
    public string Combined => Subresource.Length == 0 ? Resource : $"{Resource}/{Subresource}";

    /// <summary>The sentence of a refusal, in Kubernetes' words (apiserver's <c>responsewriters.Forbidden</c>).</summary>
    public string Refusal(string reason)
    {
        var because = reason.Length == 0 ? "" : $": {reason}";
        if (!IsResource)
            return $"forbidden: User \"{User.Name}\" cannot {Verb} path \"{Path}\"{because}";
        var qualified = Group.Length == 0 ? Resource : $"{Resource}.{Group}";
        var subject = Name.Length == 0 ? "" : $" \"{Name}\"";
        var where = Namespace.Length == 0 ? "at the cluster scope" : $"in the namespace \"{Namespace}\"";
        return $"{qualified}{subject} is forbidden: User \"{User.Name}\" cannot {Verb} resource \"{Combined}\" in API group \"{Group}\" {where}{because}";
    }
}

/// <summary>Whether something is allowed, and why; the reason of a refusal is often empty, as in Kubernetes.</summary>
internal readonly record struct AccessDecision(bool IsAllowed, string Reason);
