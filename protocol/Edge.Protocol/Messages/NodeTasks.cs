using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Edge.Protocol.Messages;

/// <summary>The words of node tasks (kubeedge-wire §5.8): jobs of operations.kubeedge.io/v1alpha2 that edges do.</summary>
public static class NodeTaskWire
{
    /// <summary>Source and group of what goes down.</summary>
    public const string TaskManager = "taskmanager";

    /// <summary>Operation of what comes up.</summary>
    public const string Report = "UpdateNodeActionStatus";

    /// <summary>Group of what comes up; its source is <see cref="Sources.WebSocket"/>.</summary>
    public const string HubGroup = "hub";

    public const string ImagePrePull = "imageprepulljob";
    public const string ConfigUpdate = "configupdatejob";
    public const string NodeUpgrade = "nodeupgradejob";

    public const string Prefix = "operations.kubeedge.io/v1alpha2/";

    /// <summary>Edge's own member of what goes down beside the spec: the job's uid, by which an edge knows a job that it has done already. Stock edges pass over it.</summary>
    public const string JobUid = "jobUID";

    /// <summary>Reason of a second, successful WaitingConfirmation of an Edge node: somebody there has said yes, and the upgrade begins. A stock edge tells only what comes of it.</summary>
    public const string Confirmed = "confirmed";
}

/// <summary>What a message of node tasks is about: <c>operations.kubeedge.io/v1alpha2/TYPE/JOB/node/NODE</c>, both ways.</summary>
public readonly record struct NodeTaskPath(string Type, string Job, string Node)
{
    public static bool TryParse(string resource, out NodeTaskPath path)
    {
        path = default;
        if (!resource.StartsWith(NodeTaskWire.Prefix, StringComparison.Ordinal))
            return false;
        var parts = resource[NodeTaskWire.Prefix.Length..].Split('/');
        if (parts.Length != 4 || parts[2] != "node" || parts.Any(part => part.Length == 0))
            return false;
        path = new NodeTaskPath(parts[0], parts[1], parts[3]);
        return true;
    }

    public override string ToString() => $"{NodeTaskWire.Prefix}{Type}/{Job}/node/{Node}";
}

/// <summary>What an edge tells of one action of a job.</summary>
/// <param name="FinishTime">RFC 3339; empty from a stock edge's ConfigUpdateJob.</param>
/// <param name="Reason">Why it failed; empty when it did not.</param>
/// <param name="Extend">ImagePrePullJob: a JSON array of {image, status, reason}. NodeUpgradeJob: the versions before and after, with a comma between.</param>
public sealed record NodeTaskReport(string Action, bool Succeeded, string FinishTime, string Reason, string Extend)
{
    private const int TextMax = 4096;

    public byte[] Write()
        => Encoding.UTF8.GetBytes(new JsonObject { ["action"] = Action, ["succ"] = Succeeded, ["finishTime"] = FinishTime, ["reason"] = Reason, ["extend"] = Extend }.ToJsonString());

    /// <summary>Reads a message's content; null with the reason where it is none. Reasons longer than 4096 characters are cut.</summary>
    public static NodeTaskReport? TryRead(ReadOnlyMemory<byte> content, out string error)
    {
        error = "";
        try
        {
            if (JsonText.IsUnicode(content.Span) && JsonNode.Parse(content.Span, documentOptions: new JsonDocumentOptions { MaxDepth = 16, AllowDuplicateProperties = false }) is JsonObject json)
            {
                string Text(string key) => json[key] is JsonValue value && value.TryGetValue<string>(out var text) ? text : "";
                var reason = Text("reason");
                if (Text("action") is { Length: > 0 and <= 64 } action)
                    return new NodeTaskReport(action, json["succ"] is JsonValue succ && succ.TryGetValue<bool>(out var yes) && yes, Text("finishTime"), reason.Length > TextMax ? reason[..TextMax] : reason, Text("extend"));
                error = "has no action of at most 64 characters";
                return null;
            }

            error = "is not a JSON object in valid Unicode";
        }
        catch (JsonException e)
        {
            error = $"is not valid JSON: {e.Message}";
        }

        return null;
    }
}
