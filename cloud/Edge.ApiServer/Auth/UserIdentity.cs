namespace Edge.ApiServer.Auth;

/// <summary>Who asks.</summary>
internal sealed record UserIdentity(string Name, IReadOnlyList<string> Groups)
{
    public const string Masters = "system:masters";
    public const string CloudCore = "system:cloudcore";

    /// <summary>May do everything.</summary>
    public bool IsPrivileged => Groups.Contains(Masters, StringComparer.Ordinal) || Groups.Contains(CloudCore, StringComparer.Ordinal);
}
