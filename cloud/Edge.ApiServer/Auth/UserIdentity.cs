using System.Collections.Frozen;

namespace Edge.ApiServer.Auth;

/// <summary>Who asks.</summary>
internal sealed record UserIdentity(string Name, IReadOnlyList<string> Groups)
{
    public const string Masters = "system:masters";
    public const string CloudCore = "system:cloudcore";
    public const string Authenticated = "system:authenticated";
    public const string Nodes = "system:nodes";
    public const string NodePrefix = "system:node:";
    public const string ServiceAccountPrefix = "system:serviceaccount:";

    public string Uid { get; init; } = "";

    /// <summary>What the authentication knows besides, e.g. the pod that a token is bound to; by key.</summary>
    public IReadOnlyDictionary<string, IReadOnlyList<string>> Extra { get; init; } = FrozenDictionary<string, IReadOnlyList<string>>.Empty;

    /// <summary>May do everything.</summary>
    public bool IsPrivileged => IsIn(Masters) || IsIn(CloudCore);

    /// <summary>The node that this is, or null.</summary>
    public string? Node => Name.StartsWith(NodePrefix, StringComparison.Ordinal) && Name.Length > NodePrefix.Length && IsIn(Nodes) ? Name[NodePrefix.Length..] : null;

    /// <summary>A loop, for every request asks: LINQ would make an enumerator.</summary>
    public bool IsIn(string group)
    {
        for (var i = 0; i < Groups.Count; i++)
        {
            if (Groups[i] == group)
                return true;
        }

        return false;
    }

    /// <summary>The user of a service account, as Kubernetes names it.</summary>
    public static UserIdentity ServiceAccount(string @namespace, string name)
        => new($"{ServiceAccountPrefix}{@namespace}:{name}", ["system:serviceaccounts", $"system:serviceaccounts:{@namespace}", Authenticated]);
}
