using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Ctl.Upgrading;

/// <summary>The yes to an upgrade that waits at this node. edgecore notes in <c>upgrade/waiting.json</c> of its data directory what waits; <c>upgrade/confirmed</c> is a copy of that note, so that
/// a yes is never taken for one to another upgrade which took its place meanwhile.</summary>
internal static class UpgradeConfirmation
{
    /// <summary>Confirms what waits.</summary>
    /// <param name="dataDirectory">edgecore's.</param>
    /// <param name="wanted">The version that must be the one that waits; null for any.</param>
    /// <returns>The version that was confirmed.</returns>
    /// <exception cref="UpgradeException">No upgrade waits, or one to another version; nothing was confirmed.</exception>
    /// <exception cref="IOException">The directory cannot be read or written.</exception>
    public static string Give(string dataDirectory, string? wanted)
    {
        var directory = Path.Combine(dataDirectory, "upgrade");
        var waiting = Path.Combine(directory, "waiting.json");
        byte[] note;
        try
        {
            note = File.ReadAllBytes(waiting);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new UpgradeException($"no upgrade waits: there is no {waiting}; name edgecore's data directory with --data-dir, and see 'kubectl get nodeupgradejob' for what the job is at");
        }

        var version = Version(note);
        if (version.Length == 0)
            throw new UpgradeException($"{waiting} does not say which version waits; start edgecore anew, which writes it again");
        if (wanted is not null && wanted != version)
            throw new UpgradeException($"the upgrade that waits is to version '{version}', not '{wanted}'; nothing was confirmed");
        NodeBackup.WritePrivate(Path.Combine(directory, "confirmed"), note);
        return version;
    }

    private static string Version(byte[] note)
    {
        try
        {
            return JsonNode.Parse(note).Text("version");
        }
        catch (JsonException)
        {
            return "";
        }
    }
}
