using Edge.Common.Configuration;
using Edge.Core.Configuration;

namespace Edge.Core.TaskManager;

/// <summary>A ConfigUpdateJob's updateFields laid into this node's config file.</summary>
internal static class ConfigChange
{
    /// <summary>The changed text, read as edgecore would read it at its next start; and what is to be said of it, empty where all comments of the file are still there.</summary>
    /// <param name="origin">Where the present config came from.</param>
    /// <param name="present">The options that are in force.</param>
    /// <param name="fields">Key paths of edgecore.yaml and their values.</param>
    /// <exception cref="ConfigException">The change is not possible; it names every wrong key and value.</exception>
    public static (string Text, string Note) Make(ConfigOrigin origin, EdgeCoreOptions present, IEnumerable<KeyValuePair<string, string>> fields)
    {
        var sets = fields.OrderBy(field => field.Key, StringComparer.Ordinal).ToList();
        var problems = new List<string>();
        foreach (var (key, _) in sets)
        {
            if (key.Length == 0 || key.Split('.').Any(part => part.Length == 0) || key.Contains('=', StringComparison.Ordinal))
                problems.Add($"updateFields '{key}': must be a key path, e.g. modules.edgeHub.heartbeat");
            else if (origin.Overrides.Any(one => one.StartsWith(key + "=", StringComparison.Ordinal)))
                problems.Add($"updateFields '{key}': is set on edgecore's command line, which the file cannot change");
        }

        if (problems.Count > 0)
            throw new ConfigException(problems);
        string former;
        try
        {
            former = File.ReadAllText(origin.Path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ConfigException([$"{origin.Path} cannot be read: {e.Message}"]);
        }

        var lines = sets.Select(field => $"{field.Key}={field.Value}").ToList();
        var edited = YamlEdit.TryApply(former, lines);
        var text = edited ?? SetKeys.Apply(former, lines);
        var changed = EdgeCoreConfig.Parse(Path.GetFileName(origin.Path), text, origin.Overrides, origin.DataDirectory, origin.HostName);
        // Another name has no certificate, and another store knows nothing of this job.
        if (changed.NodeName != present.NodeName)
            problems.Add($"the node's name would become '{changed.NodeName}'; a node is renamed by 'edgectl reset' and 'edgectl join'");
        if (changed.MetaManager.DatabasePath != present.MetaManager.DatabasePath)
            problems.Add("database.dataSource cannot be changed from the cloud: the node's objects are in it");
        // Whoever may change settings may not thereby say whose programs run here.
        if (changed.TaskManager.Upgrade != present.TaskManager.Upgrade)
            problems.Add("modules.taskManager.upgrade cannot be changed from the cloud: it says whose programs this node runs");
        if (!changed.TaskManager.Enable)
            problems.Add("modules.taskManager.enable would be false, and nobody could report this job's end");
        if (problems.Count > 0)
            throw new ConfigException(problems);
        return (text, edited is null && former.Contains('#', StringComparison.Ordinal)
            ? $"{origin.Path} is written anew and loses its comments, since a value to change spans lines in it; {ConfigTrial.BackupPath(origin.Path)} has them" : "");
    }
}
