using Edge.Cloud.CloudHub.Sessions;
using Edge.Cloud.SyncController;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Microsoft.Extensions.Logging;

namespace Edge.Cloud.DeviceController;

/// <summary>Takes what an edge's twin module says and answers "OK" when it is written (kubeedge-wire §4.3).</summary>
internal sealed class DeviceReports(NodeSync sync, DeviceStatusWriter writer, TimeProvider time, ILogger logger)
{
    public void Receive(HubSession session, Message message)
    {
        // The edge asks for its devices after connecting; the membership it gets anyway is the answer.
        if (message.Resource == "membership/detail")
            return;
        if (DeviceReport.TryRead(message, out var error) is not { } report)
        {
            // Answered all the same: it would not read better the next time.
            DeviceLog.BadReport(logger, session.Node, error);
            Confirm(session, message);
            return;
        }

        var device = sync.Device(report.Namespace, report.Name);
        if (device is null || device.Text("spec", "nodeName") != session.Node)
        {
            DeviceLog.NotOwn(logger, session.Node, report.Namespace, report.Name);
            Confirm(session, message);
            return;
        }

        writer.Report(device, report, () => Confirm(session, message));
    }

    private void Confirm(HubSession session, Message message)
        => session.Send(Message.Create(time, Sources.DeviceController, Groups.Twin, Operations.Response, "twin", MessageCodec.Ok) with { ParentId = message.Id });
}
