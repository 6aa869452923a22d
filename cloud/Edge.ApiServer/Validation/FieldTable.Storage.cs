namespace Edge.ApiServer.Validation;

// The types of persistent volumes, written as in FieldTable.Types.cs.
internal static partial class FieldTable
{
    /// <summary>core/v1: persistent volumes and claims</summary>
    private const string PersistentVolumeTypes = """
        PersistentVolume metadata:ObjectMeta spec:PersistentVolumeSpec status:PersistentVolumeStatus
        PersistentVolumeClaim metadata:ObjectMeta spec:PersistentVolumeClaimSpec status:PersistentVolumeClaimStatus
        PersistentVolumeSpec capacity:{}q gcePersistentDisk:GCEPersistentDiskVolumeSource
          awsElasticBlockStore:AWSElasticBlockStoreVolumeSource hostPath:HostPathVolumeSource
          glusterfs:GlusterfsPersistentVolumeSource nfs:NFSVolumeSource rbd:RBDPersistentVolumeSource
          iscsi:ISCSIPersistentVolumeSource cinder:CinderPersistentVolumeSource cephfs:CephFSPersistentVolumeSource
          fc:FCVolumeSource flocker:FlockerVolumeSource flexVolume:FlexPersistentVolumeSource
          azureFile:AzureFilePersistentVolumeSource vsphereVolume:VsphereVirtualDiskVolumeSource
          quobyte:QuobyteVolumeSource azureDisk:AzureDiskVolumeSource
          photonPersistentDisk:PhotonPersistentDiskVolumeSource portworxVolume:PortworxVolumeSource
          scaleIO:ScaleIOPersistentVolumeSource local:LocalVolumeSource storageos:StorageOSPersistentVolumeSource
          csi:CSIPersistentVolumeSource accessModes:[]s claimRef:ObjectReference persistentVolumeReclaimPolicy:s
          storageClassName:s mountOptions:[]s volumeMode:s nodeAffinity:VolumeNodeAffinity volumeAttributesClassName:s
        PersistentVolumeStatus phase:s message:s reason:s lastPhaseTransitionTime:t
        PersistentVolumeClaimStatus phase:s accessModes:[]s capacity:{}q conditions:[type]PersistentVolumeClaimCondition
          allocatedResources:{}q allocatedResourceStatuses:{}s currentVolumeAttributesClassName:s
          modifyVolumeStatus:ModifyVolumeStatus
        PersistentVolumeClaimCondition type!:s status!:s lastProbeTime:t lastTransitionTime:t reason:s message:s
        ModifyVolumeStatus targetVolumeAttributesClassName:s status!:s
        VolumeNodeAffinity required:NodeSelector
        LocalVolumeSource path!:s fsType:s
        SecretReference name:s namespace:s
        GlusterfsPersistentVolumeSource endpoints!:s path!:s readOnly:b endpointsNamespace:s
        RBDPersistentVolumeSource monitors!:[]s image!:s fsType:s pool:s user:s keyring:s secretRef:SecretReference
          readOnly:b
        ISCSIPersistentVolumeSource targetPortal!:s iqn!:s lun!:i iscsiInterface:s fsType:s readOnly:b portals:[]s
          chapAuthDiscovery:b chapAuthSession:b secretRef:SecretReference initiatorName:s
        CinderPersistentVolumeSource volumeID!:s fsType:s readOnly:b secretRef:SecretReference
        CephFSPersistentVolumeSource monitors!:[]s path:s user:s secretFile:s secretRef:SecretReference readOnly:b
        FlexPersistentVolumeSource driver!:s fsType:s secretRef:SecretReference readOnly:b options:{}s
        AzureFilePersistentVolumeSource secretName!:s shareName!:s readOnly:b secretNamespace:s
        ScaleIOPersistentVolumeSource gateway!:s system!:s secretRef:SecretReference sslEnabled:b protectionDomain:s
          storagePool:s storageMode:s volumeName:s fsType:s readOnly:b
        StorageOSPersistentVolumeSource volumeName:s volumeNamespace:s fsType:s readOnly:b secretRef:ObjectReference
        CSIPersistentVolumeSource driver!:s volumeHandle!:s readOnly:b fsType:s volumeAttributes:{}s
          controllerPublishSecretRef:SecretReference nodeStageSecretRef:SecretReference
          nodePublishSecretRef:SecretReference controllerExpandSecretRef:SecretReference
          nodeExpandSecretRef:SecretReference
        TopologySelectorTerm matchLabelExpressions:[]TopologySelectorLabelRequirement
        TopologySelectorLabelRequirement key!:s values!:[]s
        """;

    /// <summary>scheduling.k8s.io/v1</summary>
    private const string SchedulingTypes = """
        PriorityClass metadata:ObjectMeta value!:i globalDefault:b description:s preemptionPolicy:s
        """;

    /// <summary>node.k8s.io/v1</summary>
    private const string NodeTypes = """
        RuntimeClass metadata:ObjectMeta handler!:s overhead:Overhead scheduling:Scheduling
        Overhead podFixed:{}q
        Scheduling nodeSelector:{}s tolerations:[]Toleration
        """;

    /// <summary>storage.k8s.io/v1</summary>
    private const string StorageTypes = """
        StorageClass metadata:ObjectMeta provisioner!:s parameters:{}s reclaimPolicy:s mountOptions:[]s
          allowVolumeExpansion:b volumeBindingMode:s allowedTopologies:[]TopologySelectorTerm
        """;
}
