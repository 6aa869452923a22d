using System.Text;
using System.Text.Json.Nodes;
using Edge.Protocol.Messages;

namespace Edge.Core.ServiceBus;

/// <summary>Answers to messages of the cloud's router, in the shape of KubeEdge's ServiceBus (kubeedge-wire §5.6). Pure.</summary>
internal static class RuleAnswers
{
    /// <summary>Whether the cloud waits for an answer: not where it only tells topics and URLs.</summary>
    public static bool IsExpected(Message message)
        => message.Operation is not (Operations.Subscribe or Operations.Unsubscribe or Operations.Start or Operations.Stop or Operations.Update or Operations.Response or Operations.Error);

    /// <summary>An answer that a service gave.</summary>
    public static Message Of(TimeProvider time, Message request, int status, JsonObject headers, ReadOnlySpan<byte> body)
    {
        var content = new JsonObject { ["header"] = headers, ["status_code"] = status, ["body"] = Convert.ToBase64String(body) };
        return Message.Create(
            time, request.Source == Sources.RouterEventBus ? Sources.Bus : Sources.ServiceBus, Groups.User, Operations.Upload, request.Resource, Encoding.UTF8.GetBytes(content.ToJsonString())) with
        {
            ParentId = request.Id,
        };
    }

    /// <summary>An answer of EdgeCore itself.</summary>
    public static Message Of(TimeProvider time, Message request, int status, string text)
        => Of(time, request, status, new JsonObject { ["Tunnelserver"] = new JsonArray("kubeedge-edgecore"), ["Content-Type"] = new JsonArray("text/plain; charset=utf-8") }, Encoding.UTF8.GetBytes(text));
}
