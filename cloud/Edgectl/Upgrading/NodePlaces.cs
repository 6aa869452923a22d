using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Ctl.Upgrading;

/// <summary>What of a node an upgrade touches, and how its edgecore is stopped and started.</summary>
/// <param name="Program">The directory of edgecore (<see cref="ProgramDirectory"/>).</param>
/// <param name="Config">edgecore.yaml.</param>
/// <param name="DataDirectory">Where edgecore.ports.json is.</param>
/// <param name="Backups">The directory of the backups and of the journal, of mode 0700.</param>
/// <param name="StopWith">A program without arguments that stops edgecore and ends; null for systemd. It must do nothing, with 0, where edgecore does not run.</param>
/// <param name="StartWith">A program without arguments that starts edgecore in the background and ends; null for systemd.</param>
internal sealed record NodePlaces(string Program, string Config, string DataDirectory, string Backups, string? StopWith, string? StartWith)
{
    public const string ConfigDefault = "/etc/kubeedge/config/edgecore.yaml";
    public const string BackupsDefault = "/var/lib/edge/backups";

    /// <summary>How long edgecore may take from its start until it is ready, and connected where it was before.</summary>
    public TimeSpan ReadyWithin { get; init; } = TimeSpan.FromSeconds(120);

    /// <summary>How long it must stay so. Zero takes the first answer, also of one that dies a second later.</summary>
    public TimeSpan Settle { get; init; } = TimeSpan.FromSeconds(5);

    public string PortsFile => Path.Combine(DataDirectory, "edgecore.ports.json");

    /// <summary>edgecore's config as it is written.</summary>
    /// <exception cref="UpgradeException">It cannot be read.</exception>
    public JsonNode? ReadConfig()
    {
        try
        {
            return Manifests.ParseValue(File.ReadAllText(Config));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ManifestException)
        {
            throw new UpgradeException($"{Config} cannot be read: {e.Message.Split('\n')[0]}; name edgecore's config with --config");
        }
    }

    public string Database => ReadConfig().Text("database", "dataSource") is { Length: > 0 } named ? named : Path.Combine(DataDirectory, "edgecore.db");

    /// <summary>Where the edgecore of a config keeps its backups. A config that cannot be read says nothing of it.</summary>
    public static string BackupsOf(string config) => TryRead(config).Text("modules", "taskManager", "upgrade", "backupDirectory") is { Length: > 0 } named ? named : BackupsDefault;

    /// <summary>The database of the edgecore of a config; likewise.</summary>
    public static string DatabaseOf(string config, string dataDirectory) => TryRead(config).Text("database", "dataSource") is { Length: > 0 } named ? named : Path.Combine(dataDirectory, "edgecore.db");

    private static JsonNode? TryRead(string config)
    {
        try
        {
            return Manifests.ParseValue(File.ReadAllText(config));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ManifestException)
        {
            return null;
        }
    }
}
