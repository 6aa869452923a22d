using System.Text;
using System.Text.Json.Nodes;
using Edge.Core.EdgeHub;
using Edge.Protocol.Messages;

namespace Edge.Core.Edged;

/// <summary>What the cloud said to a question.</summary>
/// <param name="Object">The object asked for; null when there was no answer or it was a failure.</param>
/// <param name="Problem">Why there is no object, without secrets; empty when there is one.</param>
/// <param name="IsFinal">True when the cloud refused: asking again changes nothing until something there changes.</param>
internal sealed record CloudReply(JsonObject? Object, string Problem, bool IsFinal);

/// <summary>Asks the cloud for what only pods need and the cloud does not push: tokens, claims, volumes (kubeedge-wire §3.2). Nothing is stored here.</summary>
internal sealed class CloudQuery(IUplink uplink, TimeProvider time)
{
    private static readonly TimeSpan s_timeout = TimeSpan.FromSeconds(10);

    /// <summary>Asks once; at most 10 s, and at once without an answer while there is no link.</summary>
    /// <param name="resource"><c>&lt;namespace&gt;/&lt;type&gt;/&lt;name&gt;</c>.</param>
    public async Task<CloudReply> AskAsync(string resource, JsonObject? content, CancellationToken cancellationToken)
    {
        if (!uplink.IsConnected)
            return new CloudReply(null, "the cloud is not connected", false);
        var question = Message.Create(time, Sources.Edged, Groups.Meta, Operations.Query, resource);
        if (content is not null)
            question = question with { Content = Encoding.UTF8.GetBytes(content.ToJsonString()) };
        try
        {
            var read = CloudAnswer.Read(await uplink.RequestAsync(question, s_timeout, cancellationToken));
            if (read.Outcome == UplinkOutcome.Accepted)
                return read.Object is { } found ? new CloudReply(found, "", false) : new CloudReply(null, $"the cloud's answer to {resource} carries no object", false);
            return new CloudReply(null, read.Text, read.Outcome == UplinkOutcome.Rejected);
        }
        catch (UplinkException e)
        {
            return new CloudReply(null, e.Message, false);
        }
    }
}
