using Edge.Cloud.CloudHub.Sessions;
using Edge.Cloud.DeviceController;
using Edge.Cloud.EdgeController;
using Edge.Cloud.SyncController;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Edge.Simulation.Tests.Model;

namespace Edge.Simulation.Tests.Adapters;

/// <summary>The only place that knows the placements: which node should have what.</summary>
internal sealed class NodePicture
{
    private readonly PodPlacement _pods = new();
    private readonly DevicePlacement _devices = new();

    public void Changed(Watched kind, ObjectChange change, List<PlacementOutput> outputs)
    {
        switch (kind)
        {
            case Watched.Node:
                _pods.NodeChanged(change, outputs);
                break;
            case Watched.Pod:
                _pods.PodChanged(change, outputs);
                break;
            case Watched.ConfigMap:
                _pods.ConfigChanged(ResourceTypes.ConfigMap, change, outputs);
                break;
            case Watched.Secret:
                _pods.ConfigChanged(ResourceTypes.Secret, change, outputs);
                break;
            case Watched.DeviceModel:
                _devices.ModelChanged(change, outputs);
                break;
            default:
                _devices.DeviceChanged(change, outputs);
                break;
        }
    }

    public bool IsEdgeNode(string node) => _pods.IsEdgeNode(node);

    public bool Uses(string node, string type, string @namespace, string name) => _pods.Uses(node, new ConfigKey(type, @namespace, name));

    public List<DownObject> All(string node) => [.. _pods.All(node), .. _devices.All(node)];

    /// <summary>The picture that a CloudCore gets that starts now.</summary>
    public static NodePicture Of(ClusterModel cluster)
    {
        var picture = new NodePicture();
        var ignored = new List<PlacementOutput>();
        for (var kind = Watched.Node; kind <= Watched.Device; kind++)
        {
            foreach (var obj in cluster.List(kind))
                picture.Changed(kind, new ObjectChange(ChangeType.Added, obj, null), ignored);
        }

        return picture;
    }
}
