using System.Diagnostics;
using System.Text.Json.Nodes;
using Edge.Cloud.CloudHub;
using Edge.Cloud.CloudHub.Sessions;
using Edge.Cloud.Observability;
using Edge.Cloud.SyncController;
using Edge.Common.Tracing;
using Edge.Protocol.Messages;
using Microsoft.Extensions.Logging;

namespace Edge.Cloud.DeviceController;

/// <summary>Takes what an edge's twin module says and answers "OK" when it is written (kubeedge-wire §4.3), or 403 when the device is another node's.</summary>
internal sealed class DeviceReports(NodeSync sync, DeviceStatusWriter writer, TimeProvider time, HubMetrics metrics, ILogger logger)
{
    public void Receive(HubSession session, Message message)
    {
        using var span = EdgeTrace.Continue("report received", ActivityKind.Consumer, message.Trace);
        span?.SetTag("edge.node", session.Node).SetTag("edge.resource", message.Resource);

        // The edge asks for its devices after connecting; the membership it gets anyway is the answer.
        if (message.Resource == "membership/detail")
        {
            if (session.IsEdgeWire)
                Confirm(session, message);
            return;
        }

        if (DeviceReport.TryRead(message, out var error) is not { } report)
        {
            // Answered all the same: it would not read better the next time.
            DeviceLog.BadReport(logger, session.Node, error);
            Confirm(session, message);
            return;
        }

        // Deleted, or so new that the watch has not shown it: nothing to write, and nothing to keep the edge asking for.
        if (sync.Device(report.Namespace, report.Name) is not { } device)
        {
            DeviceLog.Unknown(logger, session.Node, report.Namespace, report.Name);
            Confirm(session, message);
            return;
        }

        if (device.Node != session.Node)
        {
            metrics.Forbidden();
            DeviceLog.NotOwn(logger, session.Node, report.Namespace, report.Name);
            Refuse(session, message, $"device {report.Namespace}/{report.Name} is forbidden: it is not bound to node '{session.Node}'");
            return;
        }

        // What an edge still had to say of a device that was deleted and made again is not the new one's.
        if (report.Uid.Length > 0 && report.Uid != device.Uid)
        {
            DeviceLog.Unknown(logger, session.Node, report.Namespace, report.Name);
            Confirm(session, message);
            return;
        }

        writer.Report(device, report with { Node = session.Node, Version = Upstream.VersionOf(session, message) }, sync.DeviceProblems(report.Namespace, report.Name), () => Confirm(session, message));
    }

    private void Confirm(HubSession session, Message message) => Answer(session, message, MessageCodec.Ok);

    // Stock edges look at the parent id alone; ours drops the report.
    private void Refuse(HubSession session, Message message, string reason)
        => Answer(session, message, JsonBytes.Of(new JsonObject
        {
            ["ErrStatus"] = new JsonObject { ["metadata"] = new JsonObject(), ["status"] = "Failure", ["message"] = reason, ["reason"] = "Forbidden", ["code"] = 403 },
        }));

    private void Answer(HubSession session, Message message, ReadOnlyMemory<byte> content)
        => session.Send(Message.Create(time, Sources.DeviceController, Groups.Twin, Operations.Response, "twin", content) with { ParentId = message.Id });
}
